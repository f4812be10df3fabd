//! One confirm channel, and the task that publishes on it.
//!
//! All publishing is one task's, so that the order is that of the calls, nobody's dropped future
//! leaves half a message behind, and what was [returned](super::returns) finds its sender.

use super::in_flight::InFlight;
use super::returns::{Fingerprint, Returns, Verdict};
use super::silence::{Share, Silence};
use crate::error;
use crate::link::Session;
use crate::names::DELAY;
use crate::wire::names::DELAY_PREFIX;
use bytes::Bytes;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::take;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tramline_core::Result;

/// A message as it is published.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Bytes,
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
}

/// Publishes in the order of the calls. Works until its connection ends, or the broker closes it.
#[derive(Debug)]
pub(crate) struct ConfirmChannel {
    jobs: mpsc::UnboundedSender<Job>,
}

#[derive(Debug)]
struct Job {
    publication: Box<Publication>,
    waiter: Waiter,
}

/// Who waits for the outcome, and the place in the window that is taken until then.
#[derive(Debug)]
struct Waiter {
    tell: oneshot::Sender<Outcome>,
    _place: OwnedSemaphorePermit,
}

impl ConfirmChannel {
    /// Opens one on `session`, over which `silence` watches, and which is encrypted if it is `over_tls`.
    ///
    /// # Errors
    /// The connection is gone, or the broker has no more channels.
    pub(super) async fn open(
        session: Session,
        silence: &Arc<Silence>,
        over_tls: bool,
    ) -> Result<Self> {
        let channel = session.channel().await?;
        let selected = channel.confirm_select(ConfirmSelectOptions::default());
        let selected = session.unless_it_ends(selected).await?;
        selected.map_err(|error| error::failed("ask the broker to confirm", error))?;
        // Bounded by the window: every job has a place in it.
        let (jobs, queued) = mpsc::unbounded_channel();
        let under_way = UnderWay::new(silence.share(), over_tls);
        tokio::spawn(publish_all(channel, session, under_way, queued));
        Ok(Self { jobs })
    }

    /// Whether it still publishes.
    pub(crate) fn is_open(&self) -> bool {
        !self.jobs.is_closed()
    }

    /// Publishes, and tells what became of it. `place` is given back then.
    pub(crate) fn publish(
        &self,
        publication: Box<Publication>,
        place: OwnedSemaphorePermit,
    ) -> oneshot::Receiver<Outcome> {
        let (tell, told) = oneshot::channel();
        let waiter = Waiter { tell, _place: place };
        if let Err(unsent) = self.jobs.send(Job { publication, waiter }) {
            unsent.0.waiter.tell(Outcome::Unsent(None));
        }
        told
    }
}

impl Waiter {
    /// Whoever waited may have gone.
    fn tell(self, outcome: Outcome) {
        let _ = self.tell.send(outcome);
    }
}

async fn publish_all(
    channel: Channel,
    session: Session,
    mut under_way: UnderWay,
    mut queued: mpsc::UnboundedReceiver<Job>,
) {
    /// How many are handed to the client before it is looked at what was confirmed.
    const AT_ONCE: usize = 256;
    /// For what was under way when the channel broke: it ends with that.
    const END_LIMIT: Duration = Duration::from_secs(1);
    let channel = Arc::new(channel);
    // Kept from one turn to the next.
    let mut jobs = Vec::new();
    let mut is_wanted = true;
    while under_way.broken.is_none() && (is_wanted || !under_way.is_empty()) {
        tokio::select! {
            biased;
            () = under_way.hear(), if !under_way.is_empty() => {}
            () = session.ended() => break,
            count = queued.recv_many(&mut jobs, AT_ONCE), if is_wanted => {
                under_way.share.handed(jobs.iter().map(|job| bytes_of(&job.publication)));
                is_wanted = count > 0;
                for Job { publication, waiter } in jobs.drain(..) {
                    let number = under_way.returns.publish(fingerprint_of(&publication), waiter);
                    under_way.in_flight.push(publish(channel.clone(), number, publication));
                }
            }
        }
    }
    queued.close();
    // Some were confirmed before, and of the others only those that the broker had say why it broke.
    let _ = tokio::time::timeout(END_LIMIT, async {
        while !under_way.is_empty() {
            under_way.hear().await;
        }
    })
    .await;
    let UnderWay { returns, broken, .. } = under_way;
    returns.into_rest().for_each(|waiter| waiter.tell(Outcome::Lost(broken.clone())));
    while let Ok(job) = queued.try_recv() {
        job.waiter.tell(Outcome::Unsent(broken.clone()));
    }
}

/// What was handed to the client and is not answered yet.
struct UnderWay {
    returns: Returns<Waiter>,
    in_flight: InFlight<Ending>,
    share: Share,
    /// Why the channel broke, if it has.
    broken: Option<lapin::Error>,
    /// Whether what the client could not write may have been: a write that fails over TLS may have
    /// encrypted and sent a part of its bytes before.
    over_tls: bool,
    /// Kept from one turn to the next.
    endings: Vec<Ending>,
    settled: Vec<(Waiter, Verdict)>,
}

impl UnderWay {
    fn new(share: Share, over_tls: bool) -> Self {
        Self {
            returns: Returns::new(),
            in_flight: InFlight::new(),
            share,
            broken: None,
            over_tls,
            endings: Vec::new(),
            settled: Vec::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Ends when anything has become of a message, and everybody was told of whom it is known by then.
    /// Cancel-safe.
    async fn hear(&mut self) {
        self.in_flight.ended(&mut self.endings).await;
        self.share.answered(self.endings.iter().map(|one| one.bytes).sum());
        for Ending { number, ended, .. } in self.endings.drain(..) {
            if let Some(error) = note(&mut self.returns, number, ended, self.over_tls) {
                // What the broker said tells more than what the client found broken after it.
                let says_more =
                    |known: &lapin::Error| known.is_amqp_error() || !error.is_amqp_error();
                if !self.broken.as_ref().is_some_and(says_more) {
                    self.broken = Some(error);
                }
            }
        }
        self.returns.settle(&mut self.settled);
        for (waiter, verdict) in self.settled.drain(..) {
            waiter.tell(Outcome::Answered(verdict));
        }
    }
}

/// What became of message `number`, which had so many bytes.
struct Ending {
    number: u64,
    bytes: u64,
    ended: Ended,
}

/// How the client's part ended.
enum Ended {
    /// The confirm came, and may have carried a message that the broker returned.
    Confirmed {
        is_stored: bool,
        carried: Option<(Fingerprint, String)>,
    },
    Unconfirmed(lapin::Error),
    Unwritten(lapin::Error),
}

/// Hands the message to the client when it is polled first, and ends with the confirm.
async fn publish(channel: Arc<Channel>, number: u64, mut publication: Box<Publication>) -> Ending {
    let bytes = bytes_of(&publication);
    let written = channel.basic_publish(
        take(&mut publication.exchange),
        take(&mut publication.routing_key),
        BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() },
        &publication.body,
        take(&mut publication.properties),
    );
    let ended = match written.await {
        Ok(confirm) => confirm.await.map_or_else(Ended::Unconfirmed, confirmed),
        Err(error) => Ended::Unwritten(error),
    };
    Ending { number, bytes, ended }
}

/// About how many the client writes.
fn bytes_of(publication: &Publication) -> u64 {
    /// What the frames and the properties of most messages take.
    const BESIDE_THE_BODY: u64 = 512;
    publication.body.len() as u64 + BESIDE_THE_BODY
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

/// Takes down how it ended with message `number`. The error, if the channel is broken.
fn note(
    returns: &mut Returns<Waiter>,
    number: u64,
    ended: Ended,
    over_tls: bool,
) -> Option<lapin::Error> {
    let (outcome, error): (fn(_) -> Outcome, _) = match ended {
        Ended::Confirmed { is_stored, carried } => {
            if !returns.confirm(number, is_stored, carried) {
                tracing::error!("the broker returned a message that was not sent");
            }
            return None;
        }
        Ended::Unconfirmed(error) => (Outcome::Lost, error),
        Ended::Unwritten(error) if over_tls => (Outcome::Lost, error),
        Ended::Unwritten(error) => (Outcome::Unsent, error),
    };
    if let Some(waiter) = returns.lose(number) {
        waiter.tell(outcome(Some(error.clone())));
    }
    Some(error)
}

fn fingerprint_of(publication: &Publication) -> Fingerprint {
    let Publication { exchange, routing_key, properties, body } = publication;
    fingerprint(exchange, routing_key, properties, body)
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
