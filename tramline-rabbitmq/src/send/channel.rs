//! One confirm channel, and the task that publishes on it.
//!
//! All publishing is one task's, so that the order is that of the calls, nobody's dropped future
//! leaves half a message behind, and what was [returned](super::returns) finds its sender.

use super::returns::{Fingerprint, Returns, Verdict};
use crate::error;
use crate::link::Session;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};

use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::take;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
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
    /// Opens one on `session`.
    ///
    /// # Errors
    /// The connection is gone, or the broker has no more channels.
    pub(crate) async fn open(session: Session) -> Result<Self> {
        let channel = session.channel().await?;
        let selected = channel.confirm_select(ConfirmSelectOptions::default());
        let selected = session.unless_it_ends(selected).await?;
        selected.map_err(|error| error::failed("ask the broker to confirm", error))?;
        // Bounded by the window: every job has a place in it.
        let (jobs, queued) = mpsc::unbounded_channel();
        tokio::spawn(publish_all(channel, session, queued));
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

async fn publish_all(channel: Channel, session: Session, mut queued: mpsc::UnboundedReceiver<Job>) {
    /// How many are handed to the client before it is looked at what was confirmed.
    const AT_ONCE: usize = 256;
    let channel = Arc::new(channel);
    let mut returns = Returns::new();
    let mut in_flight = FuturesUnordered::new();
    // Kept from one turn to the next.
    let (mut jobs, mut endings, mut settled) = (Vec::new(), Vec::new(), Vec::new());
    let mut broken = None;
    let mut is_wanted = true;
    while broken.is_none() && (is_wanted || !in_flight.is_empty()) {
        tokio::select! {
            biased;
            () = ended(&mut in_flight, &mut endings), if !in_flight.is_empty() => {
                for (number, ended) in endings.drain(..) {
                    broken = broken.or(note(&mut returns, number, ended));
                }
                returns.settle(&mut settled);
                for (waiter, verdict) in settled.drain(..) {
                    waiter.tell(Outcome::Answered(verdict));
                }
            }
            () = session.ended() => break,
            count = queued.recv_many(&mut jobs, AT_ONCE), if is_wanted => {
                is_wanted = count > 0;
                for Job { publication, waiter } in jobs.drain(..) {
                    let number = returns.publish(fingerprint_of(&publication), waiter);
                    in_flight.push(publish(channel.clone(), number, publication));
                }
            }
        }
    }
    queued.close();
    returns.into_rest().for_each(|waiter| waiter.tell(Outcome::Lost(broken.clone())));
    while let Ok(job) = queued.try_recv() {
        job.waiter.tell(Outcome::Unsent(broken.clone()));
    }
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
///
/// Nothing of the message is kept in the future itself: there is one for each message in flight, and
/// allocators are slow with what is larger than a kilobyte.
async fn publish(
    channel: Arc<Channel>,
    number: u64,
    mut publication: Box<Publication>,
) -> (u64, Ended) {
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
    (number, ended)
}

fn confirmed(confirmation: Confirmation) -> Ended {
    let is_stored = confirmation.is_ack();
    let carried = confirmation.take_message().map(|returned| {
        let message = &returned.delivery;
        let id = message.properties.message_id().as_ref();
        let fingerprint = fingerprint(&message.exchange, &message.routing_key, id, &message.data);
        (fingerprint, format!("{} ({})", returned.reply_text, returned.reply_code))
    });
    Ended::Confirmed { is_stored, carried }
}

/// Takes down how it ended with message `number`. The error, if the channel is broken.
fn note(returns: &mut Returns<Waiter>, number: u64, ended: Ended) -> Option<lapin::Error> {
    let (outcome, error): (fn(_) -> Outcome, _) = match ended {
        Ended::Confirmed { is_stored, carried } => {
            if !returns.confirm(number, is_stored, carried) {
                tracing::error!("the broker returned a message that was not sent");
            }
            return None;
        }
        Ended::Unconfirmed(error) => (Outcome::Lost, error),
        Ended::Unwritten(error) => (Outcome::Unsent, error),
    };
    if let Some(waiter) = returns.lose(number) {
        waiter.tell(outcome(Some(error.clone())));
    }
    Some(error)
}

fn fingerprint_of(publication: &Publication) -> Fingerprint {
    let Publication { exchange, routing_key, properties, body } = publication;
    fingerprint(exchange, routing_key, properties.message_id().as_ref(), body)
}

fn fingerprint(
    exchange: &ShortString,
    routing_key: &ShortString,
    id: Option<&ShortString>,
    body: &[u8],
) -> Fingerprint {
    let mut hasher = DefaultHasher::new();
    (exchange, routing_key, id, body.len()).hash(&mut hasher);
    // Whoever gives ids tells messages apart by them.
    if id.is_none() {
        body.hash(&mut hasher);
    }
    hasher.finish()
}

/// Ends when a publication has, and adds all to `endings` that have ended by then: not one is left out
/// that ended before one that is told.
async fn ended<F: Future<Output = (u64, Ended)>>(
    in_flight: &mut FuturesUnordered<F>,
    endings: &mut Vec<(u64, Ended)>,
) {
    poll_fn(|cx| {
        loop {
            let woken = Arc::new(Woken { by: AtomicBool::new(false), task: cx.waker().clone() });
            let waker = Waker::from(woken.clone());
            match in_flight.poll_next_unpin(&mut Context::from_waker(&waker)) {
                Poll::Ready(Some(one)) => endings.push(one),
                // It wakes its task when it gives way though there is more.
                Poll::Pending if woken.by.load(Ordering::Acquire) => {}
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        if endings.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    })
    .await
}

/// Notices a wake-up, and passes it on.
struct Woken {
    by: AtomicBool,
    task: Waker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.by.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}
