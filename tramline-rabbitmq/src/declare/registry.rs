//! The record of a vhost, held by one process at a time.
//!
//! It is a message in the durable queue `tramline.registry`, whose single active consumer holds it:
//! the broker makes the next one active when the channel of this one ends, however it ends. Nobody
//! asks in vain, and who waits is served in turn.
//!
//! A new record is confirmed before the old one is acked. Who dies in between leaves two, of which
//! the later generation holds; who dies before leaves the old one. An empty queue cannot be told from
//! one that another consumer has, so whoever comes knocks: it sends a message, and has the queue as
//! soon as it is given any. Behind a second knock, sent by then, there is no record that it has not
//! been given. Knocks go with what is written; where there is nothing to write, one of them stays,
//! because whoever waits must be given something.
//!
//! # While the broker takes nothing
//!
//! A broker that is short of memory or disk reads nothing more from a connection that publishes, acks
//! included. So the record has a connection of its own each time, and nothing that consumes waits for it:
//! a knock [finds out](Missed::Blocked).
//!
//! # Who holds it too long
//!
//! The broker knows no token by which it could tell a holder from the one before it, so bindings are not
//! fenced. A holder that stalls loses the record in two ways:
//!
//! * Its connection is cut, because it gave no sign of life for two heartbeats. All that it does here
//!   with the record and the bindings in it goes through that same connection, so that nothing of it
//!   comes after that: not even what it had already sent, if the broker had not read it.
//! * Its channel alone is closed, because a delivery was unsettled for longer than the broker's
//!   `consumer_timeout` (30 minutes), and the connection lives on. So before it binds it looks whether
//!   the record is [still its](Held::is_held); whoever finds it gone begins anew, with a new turn.
//!
//! What is left is a channel that is closed between that look and the binding. Then the other's
//! declaration and this one are mixed: a queue may get too much, which the endpoint filters, or miss
//! a binding that the other has made and this one has removed. This one fails to write the last record,
//! and so declares everything once more, in a turn of its own: what it asks for holds then, as if it had
//! come last.

use super::form::{QueueForm, quorum};
use super::record::Record;
use crate::error::{failed, kind};
use crate::link::{Blocked, Brief, Session};
use crate::names::REGISTRY;
use crate::options::RabbitMqOptions;
use futures_util::{StreamExt, TryFutureExt, try_join};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions,
};
use lapin::protocol::basic::AMQPProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Confirmation, Consumer};
use std::time::Duration;
use tramline_core::clock::{Entropy, SystemEntropy};
use tramline_core::{Error, ErrorKind, Result};

/// How long the broker may take to answer to who holds the record.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The `type` of a record.
const RECORD: &str = "tramline.registry";
/// The `type` of a message that only asks whether anybody is there.
const KNOCK: &str = "tramline.knock";

/// The record, while it is this process's. Dropped, it is given back as it was, a moment later.
pub(super) struct Held {
    brief: Brief,
    channel: Channel,
    consumer: Consumer,
    record: Record,
    /// What was delivered: the newest record's tag, if there is one, and all others.
    newest: Option<u64>,
    spent: Vec<u64>,
    /// What was written and did not come back yet.
    written: Option<u64>,
}

/// Why nothing could be done with the record.
pub(super) enum Missed {
    /// The broker takes nothing, and says so on this connection. It will say there when that is over.
    Blocked(Brief, Error),
    Failed(Error),
}

impl From<Error> for Missed {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Missed {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Blocked(_, error) | Self::Failed(error) => error,
        }
    }
}

impl Held {
    /// Takes the record as soon as no other process has it.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] after `limit`.
    pub(super) async fn take(options: &RabbitMqOptions, limit: Duration) -> Result<Self, Missed> {
        let brief = Brief::open(options, "declare").await?;
        let session = brief.session().clone();
        let (channel, consumer) = open(&session).await?;
        let mut held = Self {
            brief,
            channel,
            consumer,
            record: Record::default(),
            newest: None,
            spent: Vec::new(),
            written: None,
        };
        let arrived = tokio::select! {
            biased;
            blocked = session.until_blocked() => Err(takes_nothing(&blocked)),
            arrived = held.arrive(limit) => arrived,
        };
        match arrived {
            Ok(()) => Ok(held),
            Err(error) => Err(held.missed(error).await),
        }
    }

    /// Lets go of the record, because the work on it has failed with `error`.
    pub(super) async fn missed(self, error: Error) -> Missed {
        if self.session().blocked().is_some() {
            // To give it back takes words that the broker does not read.
            return Missed::Blocked(self.brief, error);
        }
        self.give_back().await;
        Missed::Failed(error)
    }

    /// The connection by which the record is held.
    pub(super) fn session(&self) -> &Session {
        self.brief.session()
    }

    async fn arrive(&mut self, limit: Duration) -> Result<()> {
        self.knock().await?;
        let first = tokio::time::timeout(limit, self.delivery()).await;
        let first = first.map_err(|_| {
            Error::new(ErrorKind::TimedOut, "wait for the record of what is declared").because(format!(
                "for {limit:?} another process has held it: see who consumes queue {REGISTRY} in \
                 this vhost, and end that process or its connection"
            ))
        })?;
        self.hear(first?)?;
        let last = self.knock().await?;
        let answered = async {
            loop {
                let delivery = self.delivery().await?;
                let is_last = delivery.properties.message_id().as_ref() == Some(&last);
                self.hear(delivery)?;
                if is_last {
                    return Ok(());
                }
            }
        };
        tokio::time::timeout(ANSWER_LIMIT, answered).await.map_err(|_| no_answer())?
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// Writes `record`. When this returns, it is safe.
    pub(super) async fn write(&mut self, record: &Record) -> Result<()> {
        let properties = AMQPProperties::default()
            .with_type(RECORD.into())
            .with_content_type("application/json".into())
            .with_delivery_mode(2);
        self.publish(&record.bytes(), properties).await?;
        self.record = record.clone();
        self.written = Some(record.generation);
        Ok(())
    }

    /// Gives the record back; older ones are gone then.
    pub(super) async fn release(mut self) -> Result<()> {
        let session = self.brief.session().clone();
        let released = async {
            // An ack of the old before this one has come could leave the queue empty for the next.
            while self.written.is_some() {
                let delivery = self.delivery().await?;
                self.hear(delivery)?;
            }
            self.remove_what_is_spent().await?;
            let closed = self.channel.close(200, "done".into());
            closed.await.map_err(refused)
        };
        tokio::select! {
            biased;
            released = tokio::time::timeout(ANSWER_LIMIT, released) => {
                released.map_err(|_| no_answer())??;
            }
            // What is written is safe. It is given back with the connection, in front of older ones
            // perhaps, over which it holds.
            _ = session.until_blocked() => return Ok(()),
        }
        self.brief.close().await;
        Ok(())
    }

    /// Gives back what was delivered: the record, or a knock where there is none.
    pub(super) async fn give_back(mut self) {
        let given_back = async {
            self.remove_what_is_spent().await?;
            let closed = self.channel.close(200, "done".into()).await;
            closed.map_err(refused)
        };
        if !matches!(tokio::time::timeout(ANSWER_LIMIT, given_back).await, Ok(Ok(()))) {
            tracing::debug!("the channel had ended before the record was given back");
        }
        self.brief.close().await;
    }

    /// Whether the record is still this process's, as far as it has heard from the broker.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`]: it is not, and nothing may be changed any more.
    pub(super) fn is_held(&self) -> Result<()> {
        if self.channel.status().connected() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unavailable, DOING)
            .because("the broker has closed the channel that held the record"))
    }

    /// Where there is no record, the last knock stays: others may wait to be given something.
    async fn remove_what_is_spent(&mut self) -> Result<()> {
        let mut spent = std::mem::take(&mut self.spent);
        if self.newest.is_none() {
            spent.pop();
        }
        for tag in spent {
            let acked = self.channel.basic_ack(tag, BasicAckOptions::default());
            acked.await.map_err(refused)?;
        }
        Ok(())
    }

    async fn delivery(&mut self) -> Result<Delivery> {
        match self.consumer.next().await {
            Some(delivery) => delivery.map_err(refused),
            None => Err(Error::new(ErrorKind::Unavailable, DOING)
                .because("the broker ended its consumer: the queue was deleted, or moved")),
        }
    }

    fn hear(&mut self, delivery: Delivery) -> Result<()> {
        let tag = delivery.delivery_tag;
        let kind = delivery.properties.kind().as_ref().map(ShortString::as_str);
        if kind != Some(RECORD) {
            if kind != Some(KNOCK) {
                tracing::warn!(queue = REGISTRY, "a message that is not ours is removed");
            }
            self.spent.push(tag);
            return Ok(());
        }
        let record = Record::read(&delivery.data)?;
        if self.written == Some(record.generation) {
            self.written = None;
        }
        if self.newest.is_none() || record.generation >= self.record.generation {
            self.spent.extend(self.newest.replace(tag));
            self.record = record;
        } else {
            self.spent.push(tag);
        }
        Ok(())
    }

    /// Answers by which id it is known again.
    async fn knock(&self) -> Result<ShortString> {
        let id = ShortString::from(format!("{:032x}", SystemEntropy.bits()));
        let properties =
            AMQPProperties::default().with_type(KNOCK.into()).with_message_id(id.clone());
        self.publish(&[], properties).await?;
        Ok(id)
    }

    async fn publish(&self, body: &[u8], properties: AMQPProperties) -> Result<()> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let confirmed = async {
            let sent =
                self.channel.basic_publish("".into(), REGISTRY.into(), options, body, properties);
            sent.await?.await
        };
        let session = self.session();
        let confirmed = tokio::select! {
            biased;
            confirmed = tokio::time::timeout(ANSWER_LIMIT, confirmed) => confirmed,
            blocked = session.until_blocked() => return Err(takes_nothing(&blocked)),
        };
        match confirmed.map_err(|_| no_answer())?.map_err(refused)? {
            Confirmation::Ack(None) => Ok(()),
            _ => {
                Err(Error::new(ErrorKind::Unavailable, DOING).because("the broker did not take it"))
            }
        }
    }
}

const DOING: &str = "remember what is declared (queue tramline.registry)";

fn refused(error: lapin::Error) -> Error {
    match kind(&error) {
        ErrorKind::Refused => Error::new(ErrorKind::Refused, DOING).because(format!(
            "{error} (the user needs the permissions to configure, write and read what begins with \
             `tramline.`, and to write to `amq.default`)"
        )),
        _ => failed(DOING, error),
    }
}

fn takes_nothing(blocked: &Blocked) -> Error {
    Error::new(ErrorKind::Unavailable, DOING)
        .because(format!("the broker takes nothing for now: {}", blocked.reason))
}

fn no_answer() -> Error {
    Error::new(ErrorKind::TimedOut, DOING)
        .because(format!("the broker did not answer within {ANSWER_LIMIT:?}"))
}

async fn open(session: &Session) -> Result<(Channel, Consumer)> {
    let channel = session.channel().await?;
    let QueueForm { name, options, arguments } = form();
    let opened = async {
        let (_, _, consumer) = try_join!(
            channel.confirm_select(ConfirmSelectOptions::default()),
            channel.queue_declare(name.clone(), options, arguments).map_ok(drop),
            channel.basic_consume(
                name,
                ShortString::default(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            ),
        )?;
        Ok(consumer)
    };
    let opened = tokio::time::timeout(ANSWER_LIMIT, opened).await.map_err(|_| no_answer())?;
    let consumer = opened.map_err(refused)?;
    Ok((channel, consumer))
}

fn form() -> QueueForm {
    let mut form = quorum(REGISTRY.into());
    form.put("x-single-active-consumer", AMQPValue::Boolean(true));
    form
}
