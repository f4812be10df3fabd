//! How often a message was handled alone, remembered by the broker.
//!
//! A message that waits cannot be written on. Each trial is a binding of the exchange
//! `tramline.trials`, with a key made of the queue, the message and the number of the trial: a
//! binding is as durable as a queue, and is there for everybody once the broker has answered. To ask
//! for one, an empty message is published under its key: the broker returns it if there is none.
//! What is bound is a queue that keeps nothing.

use super::consumption::NEVER;
use crate::error;
use crate::link::Session;
use crate::names::TRIALS;
use crate::rabbitmq::Shared;
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, ExchangeKind};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use tokio::sync::Mutex;
use tramline_core::envelope::Envelope;
use tramline_core::name::QueueRef;
use tramline_core::{Error, ErrorKind, Result};
use uuid::Uuid;

/// More than anybody counts up to.
const TRIALS_MAX: u32 = 16;

/// What a message is remembered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(Uuid);

impl Key {
    /// The key of a message in `queue`. One without an id is known by all that it is.
    pub(super) fn of(queue: &QueueRef, envelope: &Envelope) -> Self {
        const NAMESPACE: Uuid = Uuid::from_u128(0x5c1f_0d4e_96a3_4f0b_8f2a_7472_6961_6c73);
        let queue = Uuid::new_v5(&NAMESPACE, queue.to_string().as_bytes());
        let Some(id) = &envelope.id else {
            let beside = serde_json::to_vec(envelope).expect("an envelope is JSON");
            let body = Uuid::new_v5(&queue, &envelope.body);
            return Self(Uuid::new_v5(&body, &beside));
        };
        Self(Uuid::new_v5(&queue, id.to_string().as_bytes()))
    }

    fn of_trial(self, number: u32) -> ShortString {
        format!("{}.{number}", self.0).into()
    }
}

/// The channel on which is asked for trials. It publishes, so it is on the connection that a broker
/// short of memory blocks, and not on the one that acks.
#[derive(Default)]
pub(crate) struct Asking(Mutex<Option<(u64, Channel)>>);

impl Asking {
    /// How many trials are remembered of `key`.
    ///
    /// # Errors
    /// The broker does not answer in time, or does not allow it.
    pub(super) async fn count(&self, shared: &Shared, key: Key) -> Result<u32> {
        const LIMIT: Duration = Duration::from_secs(5);
        let doing = "ask how often a message was handled alone";
        match tokio::time::timeout(LIMIT, self.count_slowly(shared, key)).await {
            Ok(counted) => counted.map_err(|error| Error::new(error.kind(), doing).because(error)),
            Err(_) => Err(Error::new(ErrorKind::TimedOut, doing)),
        }
    }

    async fn count_slowly(&self, shared: &Shared, key: Key) -> Result<u32> {
        let mut known = self.0.lock().await;
        let session = shared.publishing.session(NEVER).await?;
        // Taken out while it is used: who is interrupted, or fails, leaves none.
        let channel = match known.take() {
            Some((number, channel)) if number == session.number() => channel,
            _ => open(&session).await?,
        };
        let mut count = 0;
        while count < TRIALS_MAX && is_bound(&channel, key.of_trial(count + 1)).await? {
            count += 1;
        }
        *known = Some((session.number(), channel));
        Ok(count)
    }
}

async fn open(session: &Session) -> Result<Channel> {
    let channel = session.channel().await?;
    let opened = async {
        declare_exchange(&channel).await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await
    };
    opened.await.map_err(|error| error::failed(format!("use exchange {TRIALS}"), error))?;
    Ok(channel)
}

async fn is_bound(channel: &Channel, key: ShortString) -> Result<bool> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let asked = async {
        let nothing = BasicProperties::default();
        channel.basic_publish(TRIALS.into(), key, options, &[], nothing).await?.await
    };
    match asked.await {
        Ok(Confirmation::Ack(returned)) => Ok(returned.is_none()),
        Ok(_) => Err(Error::new(ErrorKind::Unavailable, format!("publish to exchange {TRIALS}"))),
        Err(error) => Err(error::failed(format!("publish to exchange {TRIALS}"), error)),
    }
}

/// Remembers trial `number` of `key`. Done when the broker has answered.
///
/// # Errors
/// The trial may or may not be remembered.
pub(super) async fn mark(session: &Session, key: Key, number: u32) -> Result<()> {
    let channel = session.channel().await?;
    let marked = async {
        declare_exchange(&channel).await?;
        declare_queue(&channel).await?;
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind(TRIALS.into(), TRIALS.into(), key.of_trial(number), options, none).await
    };
    marked.await.map_err(|error| error::failed("remember that a message is handled alone", error))
}

/// Forgets trials 1 to `count` of `key`. Those that are not there are none to forget.
///
/// # Errors
/// Some may be left.
pub(super) async fn forget(session: &Session, key: Key, count: u32) -> Result<()> {
    let channel = session.channel().await?;
    let forgotten = async {
        // The last one first: what is left when this ends early is counted from the first.
        for number in (1..=count).rev() {
            let (key, none) = (key.of_trial(number), FieldTable::default());
            channel.queue_unbind(TRIALS.into(), TRIALS.into(), key, none).await?;
        }
        Ok(())
    };
    forgotten.await.map_err(|error| error::failed("forget that a message was handled alone", error))
}

async fn declare_exchange(channel: &Channel) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let none = FieldTable::default();
    channel.exchange_declare(TRIALS.into(), ExchangeKind::Direct, options, none).await
}

/// A quorum queue, because the bindings of a classic one are not there while its node is down.
async fn declare_queue(channel: &Channel) -> lapin::Result<()> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let arguments: FieldTable = BTreeMap::from([
        ("x-queue-type".into(), AMQPValue::LongString("quorum".into())),
        ("x-max-length".into(), AMQPValue::LongLongInt(0)),
    ])
    .into();
    channel.queue_declare(TRIALS.into(), options, arguments).await.map(drop)
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use tramline_core::name::QueueName;

    fn key(queue: &str, id: Option<&str>, body: &'static str) -> Key {
        let id = id.map(|id| id.parse().unwrap());
        let envelope =
            Envelope { id, body: Bytes::from_static(body.as_bytes()), ..Envelope::default() };
        Key::of(&QueueRef::Main(QueueName::foreign(queue)), &envelope)
    }

    #[test]
    fn a_message_is_known_by_its_id_in_its_queue_or_else_by_all_that_it_is() {
        assert_eq!(key("a", Some("1"), "x"), key("a", Some("1"), "y"));
        assert_ne!(key("a", Some("1"), "x"), key("a", Some("2"), "x"));
        assert_ne!(key("a", Some("1"), "x"), key("b", Some("1"), "x"));
        assert_eq!(key("a", None, "x"), key("a", None, "x"));
        assert_ne!(key("a", None, "x"), key("a", None, "y"));
        assert_ne!(key("a", None, "x"), key("b", None, "x"));
        assert_ne!(key("a", Some("1"), "x").of_trial(1), key("a", Some("1"), "x").of_trial(2));
    }
}
