//! One confirm channel, on which all senders publish.
//!
//! One message at a time is handed to the client: the numbers of its confirms would not be those of
//! the messages else. While few are in flight their senders do that, without the way to another task
//! and back; with many they would wait for each other, so they leave it to the task that
//! [hears](super::hearing) what becomes of all, which hands over what has gathered in one go. It is one
//! task that hears, so that nobody's dropped future leaves half a message behind, and what was
//! [returned](super::returns) finds its sender.

use super::hearing::{UnderWay, hear_all};
use super::in_flight::{Flight, Woken};
use super::returns::{Fingerprint, Verdict};
use super::silence::{Share, Silence};
use crate::error;
use crate::link::Session;
use crate::names::DELAY;
use crate::wire::names::DELAY_PREFIX;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};
use parking_lot::Mutex;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tramline_core::Result;
use tramline_core::clock::Timestamp;
use tramline_core::envelope::Envelope;

/// A message as it is published.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) properties: BasicProperties,
    /// Has the body.
    pub(crate) envelope: Arc<Envelope>,
}

/// What became of a publication.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The broker answered.
    Answered(Verdict),
    /// The channel broke before the broker answered.
    Lost(Option<lapin::Error>),
    /// The channel broke before the message was written.
    Unsent(Option<lapin::Error>),
    /// The sender's time is up. The broker may answer yet, to nobody.
    TimedOut,
}

/// Publishes in the order of the calls. Works until its connection ends, or the broker closes it.
pub(crate) struct ConfirmChannel(Arc<Line>);

/// What those who publish share with the task that hears what became of it.
pub(super) struct Line {
    channel: Arc<Channel>,
    pub(super) share: Share,
    pub(super) woken: Arc<Woken>,
    /// Where the places come from that are given back when the broker has answered.
    pub(super) window: Arc<Semaphore>,
    /// With fewer of its places free, many are in flight.
    free_when_few: usize,
    /// Looked at for each message: no lock.
    is_open: AtomicBool,
    /// Locked while a sender hands a message to the client.
    pub(super) entry: Mutex<Entry>,
}

pub(super) struct Entry {
    /// Nothing is taken any more.
    pub(super) is_closed: bool,
    /// The number of the message that comes next.
    next: u64,
    /// What was taken and is not known to the task yet. Bounded by the window.
    pub(super) fresh: Vec<Fresh>,
    /// There is something that the task is to hand to the client, so what comes now is behind it.
    pub(super) has_unsent: bool,
    /// Rooms for what senders hand to the client.
    pub(super) spare: Vec<Flight<Ended>>,
    /// No sender's time is up before.
    pub(super) earliest_deadline: Option<Timestamp>,
}

/// A message that was taken.
pub(super) struct Fresh {
    pub(super) number: u64,
    pub(super) fingerprint: Fingerprint,
    pub(super) waiter: Waiter,
    /// It is the task that is to hand it to the client.
    pub(super) unsent: Option<Box<Publication>>,
}

/// A message in flight, and who waits for its outcome. It has a place in the window.
pub(super) struct Waiter {
    /// Until it is told.
    pub(super) tell: Option<oneshot::Sender<Outcome>>,
    pub(super) deadline: Option<Timestamp>,
    pub(super) bytes: u64,
    /// From when it is handed to the client until it has ended.
    pub(super) flight: Option<Flight<Ended>>,
}

impl ConfirmChannel {
    /// Opens one on `session`, over which `silence` watches, and which is encrypted if it is `over_tls`.
    /// What is published has places in `window`, which has `window_max`.
    ///
    /// # Errors
    /// The connection is gone, or the broker has no more channels.
    pub(super) async fn open(
        session: Session,
        silence: &Arc<Silence>,
        (window, window_max): (Arc<Semaphore>, usize),
        over_tls: bool,
    ) -> Result<Self> {
        /// So many senders do not wait for each other for long.
        const FEW: usize = 8;
        let channel = session.channel().await?;
        let selected = channel.confirm_select(ConfirmSelectOptions::default());
        let selected = session.unless_it_ends(selected).await?;
        selected.map_err(|error| error::failed("ask the broker to confirm", error))?;
        let entry = Entry {
            is_closed: false,
            next: 0,
            fresh: Vec::new(),
            has_unsent: false,
            spare: Vec::new(),
            earliest_deadline: None,
        };
        let line = Arc::new(Line {
            channel: Arc::new(channel),
            share: silence.share(),
            woken: Arc::default(),
            window,
            free_when_few: window_max.saturating_sub(FEW),
            is_open: AtomicBool::new(true),
            entry: Mutex::new(entry),
        });
        tokio::spawn(hear_all(UnderWay::on(line.clone(), over_tls), session));
        Ok(Self(line))
    }

    /// Whether it still publishes.
    pub(crate) fn is_open(&self) -> bool {
        self.0.is_open.load(Ordering::Acquire)
    }

    /// Publishes, and tells what became of it: at `deadline` that this is not known. `place` is given
    /// back when the broker has answered.
    pub(crate) fn publish(
        &self,
        publication: Box<Publication>,
        place: SemaphorePermit<'_>,
        deadline: Option<Timestamp>,
    ) -> oneshot::Receiver<Outcome> {
        let line = &*self.0;
        let (tell, told) = oneshot::channel();
        let fingerprint = fingerprint_of(&publication);
        let bytes = bytes_of(&publication);
        let are_few = line.window.available_permits() >= line.free_when_few;
        let mut entry = line.entry.lock();
        if entry.is_closed {
            // Whoever waited may have gone.
            let _ = tell.send(Outcome::Unsent(None));
            return told;
        }
        place.forget();
        let number = entry.next;
        entry.next += 1;
        let mut waiter = Waiter { tell: Some(tell), deadline, bytes, flight: None };
        let mut unsent = Some(publication);
        if are_few && !entry.has_unsent {
            let flight = entry.spare.pop().unwrap_or_else(|| Flight::new(&line.woken));
            waiter.flight =
                unsent.take().map(|publication| line.hand(flight, number, bytes, publication));
        }
        let mut is_news = unsent.is_some() && !entry.has_unsent;
        entry.has_unsent |= unsent.is_some();
        entry.fresh.push(Fresh { number, fingerprint, waiter, unsent });
        if let Some(deadline) = deadline
            && entry.earliest_deadline.is_none_or(|earliest| deadline < earliest)
        {
            entry.earliest_deadline = Some(deadline);
            is_news = true;
        }
        drop(entry);
        if is_news {
            line.woken.wake_task();
        }
        told
    }
}

/// What is under way has its answer all the same.
impl Drop for ConfirmChannel {
    fn drop(&mut self) {
        self.0.close();
        self.0.woken.wake_task();
    }
}

impl fmt::Debug for ConfirmChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfirmChannel").field("is_open", &self.is_open()).finish()
    }
}

impl Line {
    /// Hands message `number` to the client, in a room that is free.
    pub(super) fn hand(
        &self,
        mut flight: Flight<Ended>,
        number: u64,
        bytes: u64,
        publication: Box<Publication>,
    ) -> Flight<Ended> {
        self.share.handed(bytes);
        flight.begin(number, publish(self.channel.clone(), publication));
        flight
    }

    /// Takes nothing any more.
    pub(super) fn close(&self) {
        self.is_open.store(false, Ordering::Release);
        self.entry.lock().is_closed = true;
    }
}

impl Waiter {
    /// Whoever waited may have gone.
    pub(super) fn tell(&mut self, outcome: Outcome) {
        if let Some(tell) = self.tell.take() {
            let _ = tell.send(outcome);
        }
    }
}

/// How the client's part ended.
pub(super) enum Ended {
    /// The confirm came, and may have carried a message that the broker returned.
    Confirmed {
        is_stored: bool,
        carried: Option<(Fingerprint, String)>,
    },
    Unconfirmed(lapin::Error),
    Unwritten(lapin::Error),
}

/// Hands the message to the client when it is polled first, and ends with the confirm.
async fn publish(channel: Arc<Channel>, publication: Box<Publication>) -> Ended {
    let Publication { exchange, routing_key, properties, envelope } = *publication;
    let written = channel.basic_publish(
        exchange,
        routing_key,
        BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() },
        &envelope.body,
        properties,
    );
    match written.await {
        Ok(confirm) => confirm.await.map_or_else(Ended::Unconfirmed, confirmed),
        Err(error) => Ended::Unwritten(error),
    }
}

/// About how many the client writes.
fn bytes_of(publication: &Publication) -> u64 {
    /// What the frames and the properties of most messages take.
    const BESIDE_THE_BODY: u64 = 512;
    publication.envelope.body.len() as u64 + BESIDE_THE_BODY
}

fn confirmed(confirmation: Confirmation) -> Ended {
    let is_stored = confirmation.is_ack();
    let carried = confirmation.take_message().map(|returned| {
        let message = &returned.delivery;
        let fingerprint = fingerprint(
            &message.exchange,
            &message.routing_key,
            &message.properties,
            &message.data,
        );
        (fingerprint, format!("{} ({})", returned.reply_text, returned.reply_code))
    });
    Ended::Confirmed { is_stored, carried }
}

fn fingerprint_of(publication: &Publication) -> Fingerprint {
    let Publication { exchange, routing_key, properties, envelope } = publication;
    fingerprint(exchange, routing_key, properties, &envelope.body)
}

fn fingerprint(
    exchange: &ShortString,
    routing_key: &ShortString,
    properties: &BasicProperties,
    body: &[u8],
) -> Fingerprint {
    let mut hasher = DefaultHasher::new();
    let id = properties.message_id().as_ref();
    (exchange, routing_key, id, body.len()).hash(&mut hasher);
    // Whoever gives ids tells messages apart by them.
    if id.is_none() {
        body.hash(&mut hasher);
    }
    // A message may be sent twice with different delays, and only one of the stages be there.
    if exchange.as_str() == DELAY {
        let headers = properties.headers().iter().flatten();
        for (name, value) in headers.filter(|(name, _)| name.as_str().starts_with(DELAY_PREFIX)) {
            if let AMQPValue::LongString(value) = value {
                (name, value.as_bytes()).hash(&mut hasher);
            }
        }
    }
    hasher.finish()
}
