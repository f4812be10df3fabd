//! How often a message was handled alone, remembered by the broker.
//!
//! A message that waits cannot be written on. Each trial is a binding of the exchange
//! `tramline.trials`, with a key made of the queue, the message and which of its deliveries the trial
//! was: a binding is as durable as a queue, and is there for everybody once the broker has answered.
//! To ask for one, an empty message is published under its key: the broker returns it if there is
//! none. What is bound is a queue that keeps nothing, one for each week. It expires, and its bindings
//! with it: those of messages that were purged, deleted or put aside by the broker.
//!
//! A suspect whose trial cannot be remembered comes again as a copy, of which the broker counts the
//! deliveries anew: one that kills would kill twice and be a suspect again, time after time. So where
//! the queue of this week does not answer, because it has lost its leader, that of the next serves.

use super::consumption::NEVER;
use crate::error;
use crate::link::{Session, pause};
use crate::names::TRIALS;
use crate::rabbitmq::Shared;
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, ExchangeKind};
use parking_lot::Mutex as SyncMutex;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Weak;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tramline_core::clock::{Clock, Deadline, Entropy, SystemClock, SystemEntropy, Timestamp};
use tramline_core::envelope::Envelope;
use tramline_core::name::QueueRef;
use tramline_core::settlement::Marks;
use tramline_core::{Error, ErrorKind, Result};
use uuid::Uuid;

/// Trials among earlier deliveries than these do not count any more.
const DELIVERIES_MAX: u32 = 64;
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long after its first trial the queue of a week expires.
const EXPIRES_AFTER: Duration = Duration::from_secs(2 * 7 * 24 * 3600);

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

    fn of_trial(self, delivery: u32) -> ShortString {
        format!("{}.{delivery}", self.0).into()
    }
}

/// How long the broker may take to remember a trial in one queue. Meanwhile nobody else is handled in
/// the whole process.
const MARK_LIMIT: Duration = Duration::from_secs(5);
/// How long it may take to forget some.
const FORGET_LIMIT: Duration = Duration::from_secs(10);
/// For how long it is not asked again to remember one in a queue, after it did not answer on a
/// connection.
const SILENCE: Duration = Duration::from_secs(60);

/// What is asked of the broker for all messages of a process.
#[derive(Default)]
pub(crate) struct Asking {
    /// On which is asked for trials, and the number of its connection. It publishes, so it is on the
    /// connection that a broker short of memory blocks, and not on the one that acks.
    channel: Mutex<Option<(u64, Channel)>>,
    /// The weeks whose queues do not answer who wants a trial remembered: on which connection, and
    /// since when.
    silent: SyncMutex<BTreeMap<i64, (u64, Instant)>>,
}

impl Asking {
    /// Which of `deliveries` of `key` were trials, the last ones first, and no more than it takes to
    /// judge. As long as the broker does not say, it is asked again: nobody can answer for it.
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`].
    pub(super) async fn trials(
        &self,
        shared: &Shared,
        key: Key,
        deliveries: Range<u32>,
    ) -> Result<Vec<u32>> {
        let from = deliveries.start.max(deliveries.end.saturating_sub(DELIVERIES_MAX));
        let mut attempt = 0;
        loop {
            let session = shared.publishing.session(NEVER).await?;
            // A blocked connection would keep the question until it is of no use any more.
            session.unblocked().await;
            match self.ask(&session, key, from..deliveries.end).await {
                Ok(trials) => return Ok(trials),
                Err(error) => {
                    tracing::warn!(%error, attempt, "the broker does not say who was handled alone");
                }
            }
            tokio::time::sleep(pause(attempt, SystemEntropy.fraction())).await;
            attempt += 1;
        }
    }

    async fn ask(&self, session: &Session, key: Key, deliveries: Range<u32>) -> Result<Vec<u32>> {
        let mut known = self.channel.lock().await;
        // Taken out while it is used: who is interrupted, or fails, leaves none.
        let channel = known.take().filter(|(number, _)| *number == session.number());
        let channel = match channel {
            Some((_, channel)) => channel,
            None => answered(open(session)).await?,
        };
        let mut trials = Vec::new();
        for delivery in deliveries.rev() {
            if trials.len() >= Marks::TRIALS_MAX as usize {
                break;
            }
            if answered(is_bound(&channel, key.of_trial(delivery))).await? {
                trials.push(delivery);
            }
        }
        *known = Some((session.number(), channel));
        Ok(trials)
    }

    /// Remembers that `delivery` of `key` is a trial. Done when the broker has answered.
    ///
    /// # Errors
    /// The trial may or may not be remembered.
    pub(super) async fn mark(&self, session: &Session, key: Key, delivery: u32) -> Result<()> {
        let week = week(SystemClock.now());
        if let Some(marked) = self.mark_in(week, session, key, delivery).await {
            return marked;
        }
        let marked = self.mark_in(week + 1, session, key, delivery).await;
        marked.unwrap_or_else(|| Err(silent(&queue_of(week + 1))))
    }

    /// Nothing, if the queue of that week does not answer. Where it did not of late, it is not asked, so
    /// that suspects do not hold everybody up one after the other.
    async fn mark_in(
        &self,
        week: i64,
        session: &Session,
        key: Key,
        delivery: u32,
    ) -> Option<Result<()>> {
        let is_of_late = |(number, since): &mut (u64, Instant)| {
            *number == session.number() && since.elapsed() < SILENCE
        };
        self.silent.lock().retain(|_, known| is_of_late(known));
        if self.silent.lock().contains_key(&week) {
            return None;
        }
        let queue = queue_of(week);
        let marked = timeout(MARK_LIMIT, mark(session, &queue, key, delivery)).await.ok();
        if marked.is_none() {
            tracing::warn!(error = %silent(&queue), "another queue is tried");
            self.silent.lock().insert(week, (session.number(), Instant::now()));
        }
        marked
    }
}

/// The answer to one question about trials.
async fn answered<T>(asked: impl Future<Output = Result<T>>) -> Result<T> {
    const LIMIT: Duration = Duration::from_secs(5);
    let doing = "ask how often a message was handled alone";
    match timeout(LIMIT, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Error::new(ErrorKind::Unavailable, doing).because(error)),
        Err(_) => Err(Error::new(ErrorKind::TimedOut, doing)),
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

async fn mark(session: &Session, queue: &ShortString, key: Key, delivery: u32) -> Result<()> {
    let channel = session.channel().await?;
    let marked = async {
        declare_exchange(&channel).await?;
        declare_queue(&channel, queue.clone()).await?;
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        let key = key.of_trial(delivery);
        channel.queue_bind(queue.clone(), TRIALS.into(), key, options, none).await
    };
    marked.await.map_err(|error| error::failed(remember_in(queue), error))
}

/// A queue whose leader is gone answers nothing.
fn silent(queue: &ShortString) -> Error {
    Error::new(ErrorKind::Unavailable, remember_in(queue)).because(format!(
        "the broker did not answer within {MARK_LIMIT:?}; if it never does, the queue has no leader \
         and has to be deleted: it holds no messages, and is declared again when it is needed"
    ))
}

fn remember_in(queue: &ShortString) -> String {
    format!("remember in queue {queue} that a message is handled alone")
}

/// Forgets these `trials` of `key`. Those that are not there are none to forget.
///
/// # Errors
/// Some may be left.
pub(super) async fn forget(session: &Session, key: Key, trials: &[u32]) -> Result<()> {
    if trials.is_empty() {
        return Ok(());
    }
    let doing = "forget that a message was handled alone";
    let forgotten = async {
        let channel = session.channel().await?;
        for queue in queues_now(SystemClock.now()) {
            for trial in trials {
                let (key, none) = (key.of_trial(*trial), FieldTable::default());
                let unbound = channel.queue_unbind(queue.clone(), TRIALS.into(), key, none).await;
                unbound.map_err(|error| error::failed(doing, error))?;
            }
        }
        Ok(())
    };
    let forgotten = session.unless_it_ends(timeout(FORGET_LIMIT, forgotten)).await?;
    forgotten.unwrap_or_else(|_| {
        let why = format!("the broker did not answer within {FORGET_LIMIT:?}");
        Err(Error::new(ErrorKind::TimedOut, doing).because(why))
    })
}

/// The process has outlived a trial that it never settled. If that is because the connection ended,
/// which is not the message's doing, the trial is forgotten: as soon as there is a connection again,
/// for some minutes. What loses its channel alone was held for longer than the broker allows.
pub(super) async fn acquit(shared: Weak<Shared>, lost: Session, key: Key, trial: u32) {
    /// The end of a channel is often seen a moment before that of its connection.
    const MOMENT: Duration = Duration::from_secs(5);
    const LIMIT: Duration = Duration::from_secs(600);
    const ATTEMPTS: u32 = 5;
    if timeout(MOMENT, lost.ended()).await.is_err() {
        return;
    }
    let deadline = Deadline::after(SystemClock.now(), LIMIT);
    for attempt in 1..=ATTEMPTS {
        let forgotten = match next_session(&shared, deadline).await {
            Ok(session) => forget(&session, key, &[trial]).await,
            Err(error) => Err(error),
        };
        match forgotten {
            Ok(()) => return,
            Err(error) if error.is_transient() && attempt < ATTEMPTS && is_ahead(deadline) => {}
            Err(error) => {
                return tracing::debug!(%error, "a trial counts although its process lives");
            }
        }
        tokio::time::sleep(pause(attempt, SystemEntropy.fraction())).await;
    }
}

/// The connection; waits while there is none. Whoever has let go of the transport is not kept
/// connecting by this.
///
/// # Errors
/// [`ErrorKind::Unavailable`] at `deadline`; [`ErrorKind::Closed`] once nobody has the transport.
async fn next_session(shared: &Weak<Shared>, deadline: Deadline) -> Result<Session> {
    /// The transport is held for no longer than this.
    const SPELL: Duration = Duration::from_secs(1);
    loop {
        let Some(shared) = shared.upgrade() else { return Err(Error::closed("rabbitmq")) };
        let spell = Deadline::after(SystemClock.now(), SPELL);
        match shared.consuming.session(spell).await {
            Err(error) if error.is_transient() && is_ahead(deadline) => {}
            found => return found,
        }
    }
}

fn is_ahead(deadline: Deadline) -> bool {
    !deadline.left(SystemClock.now()).is_zero()
}

/// The number of the week that `now` is in.
fn week(now: Timestamp) -> i64 {
    now.as_millis().div_euclid(WEEK.as_millis() as i64)
}

fn queue_of(week: i64) -> ShortString {
    format!("{TRIALS}.{week}").into()
}

/// The queues that may be there: each is declared within its week, or in the one before instead of a
/// queue that does not answer.
fn queues_now(now: Timestamp) -> impl Iterator<Item = ShortString> {
    let weeks = (EXPIRES_AFTER.as_secs() / WEEK.as_secs()) as i64;
    let this = week(now);
    (this - weeks..=this + 1).rev().map(queue_of)
}

async fn declare_exchange(channel: &Channel) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let none = FieldTable::default();
    channel.exchange_declare(TRIALS.into(), ExchangeKind::Direct, options, none).await
}

/// A quorum queue, because the bindings of a classic one are not there while its node is down.
async fn declare_queue(channel: &Channel, queue: ShortString) -> lapin::Result<()> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let arguments: FieldTable = BTreeMap::from([
        ("x-queue-type".into(), AMQPValue::LongString("quorum".into())),
        ("x-max-length".into(), AMQPValue::LongLongInt(0)),
        ("x-expires".into(), AMQPValue::LongLongInt(EXPIRES_AFTER.as_millis() as i64)),
    ])
    .into();
    channel.queue_declare(queue, options, arguments).await.map(drop)
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

    #[test]
    fn a_trial_is_forgotten_wherever_it_was_remembered_before_that_expired() {
        let now = Timestamp::from_millis(1_795_352_374_000);
        let later = now.after(EXPIRES_AFTER);
        let names = |now| queues_now(now).map(|name| name.to_string()).collect::<Vec<_>>();
        let weeks = [2969, 2968, 2967, 2966].map(|week| format!("tramline.trials.{week}"));
        assert_eq!((names(now), week(now)), (weeks.to_vec(), 2968));
        assert!(names(later).contains(&queue_of(week(now)).to_string()));
    }
}
