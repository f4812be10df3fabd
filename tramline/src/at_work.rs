//! Handlers at work, by the ids of their messages: so that one can be cancelled from outside.

use crate::bus::Bus;
use crate::pipeline::Surroundings;
use crate::{Failure, MessageId};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tramline_core::clock::Timestamp;
use tramline_core::dead::Reason;
use tramline_core::failure::Verdict;

impl Bus {
    /// Cancels what handlers of this bus are doing with the message `id`, in all of its endpoints that are at work on
    /// it. They are told by their [`Cancel`](crate::Cancel) at once, and dropped after `grace`, with their
    /// transaction. Said again with less grace, they are dropped earlier. Answers whether there was any that had come
    /// to an `.await`, or has asked for a [`Cancel`](crate::Cancel); what runs in another process is to be
    /// cancelled there. Ends at once.
    ///
    /// The message goes to the dead-letter queue, for the reason `cancelled`, and can be redriven from there. If its
    /// handler ends with success within `grace`, it is handled: what is committed stays. The other messages of its
    /// batch run again without it. A run that fails in this very moment may be retried all the same. A handler that
    /// blocks its thread is neither told nor dropped before its next `.await`.
    ///
    /// ```
    /// # #[cfg(feature = "memory")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use serde::{Deserialize, Serialize};
    /// # use std::time::Duration;
    /// # use tramline::{Bus, Cancel, Endpoint, Message};
    /// # #[derive(Serialize, Deserialize)] struct Export;
    /// # impl Message for Export { const NAME: &'static str = "export"; }
    /// async fn export(_: Export, cancel: Cancel) {
    ///     cancel.cancelled().await; // or work, and look at `cancel` from time to time
    /// #   std::future::pending::<()>().await;
    /// }
    /// let bus = Bus::connect("memory:").await?
    ///     .endpoint(Endpoint::new("exports").handle(export))
    ///     .start().await?;
    /// let receipt = bus.send("exports", &Export).await?;
    /// # tokio::time::sleep(Duration::from_millis(50)).await;
    /// let was_running = bus.cancel_running(&receipt.id, Duration::from_secs(5));
    /// # assert!(was_running);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "memory"))]
    /// # fn main() {}
    /// ```
    pub fn cancel_running(&self, id: &MessageId, grace: Duration) -> bool {
        let running = self.inner();
        running.handlers.cancel(id, running.composer.clock.now().after(grace))
    }
}

/// What becomes of a message whose handler was cancelled.
pub(crate) fn cancelled() -> Failure {
    Failure::dead_letter(Reason::Cancelled, "it was cancelled while it was handled")
}

/// Whether this is what [`cancelled`] has made.
pub(crate) fn is_cancellation(failure: &Failure) -> bool {
    *failure.verdict() == Verdict::DeadLetter(Reason::Cancelled)
}

/// The runs of one bus that have come to an `.await`.
#[derive(Clone, Default)]
pub(crate) struct AtWork(Arc<Mutex<HashMap<MessageId, Vec<Arc<Run>>>>>);

/// Somebody who is told.
struct Run {
    endpoint: Arc<str>,
    told: CancellationToken,
    /// Rung with each word; one waits for it.
    news: Notify,
    /// Which of its messages are cancelled, and until when it may go on. Changed under the lock of all.
    cancelled: Mutex<Vec<(MessageId, Timestamp)>>,
}

/// A run that is known; dropped, it is not any more.
pub(crate) struct Known {
    at_work: AtWork,
    ids: Vec<MessageId>,
    run: Arc<Run>,
}

impl AtWork {
    /// Makes `told` known for the messages `ids`. It is told at once if one of them was cancelled already in this run.
    pub(crate) fn enter(
        &self,
        endpoint: &Arc<str>,
        ids: Vec<MessageId>,
        told: CancellationToken,
    ) -> Known {
        let mut runs = self.0.lock();
        let before: Vec<_> = ids
            .iter()
            .filter_map(|id| runs.get(id))
            .flatten()
            .filter(|other| Arc::ptr_eq(&other.endpoint, endpoint))
            .flat_map(|other| other.cancelled.lock().clone())
            .filter(|(id, _)| ids.contains(id))
            .collect();
        if !before.is_empty() {
            told.cancel();
        }
        let (endpoint, news, cancelled) = (endpoint.clone(), Notify::new(), Mutex::new(before));
        let run = Arc::new(Run { endpoint, told, news, cancelled });
        for id in &ids {
            runs.entry(id.clone()).or_default().push(run.clone());
        }
        drop(runs);
        Known { at_work: self.clone(), ids, run }
    }

    fn cancel(&self, id: &MessageId, until: Timestamp) -> bool {
        let runs = self.0.lock();
        let Some(found) = runs.get(id) else { return false };
        for run in found {
            run.cancelled.lock().push((id.clone(), until));
            run.told.cancel();
            run.news.notify_one();
        }
        true
    }

    /// Whether a run of `endpoint` is cancelled that has to do with `id`.
    pub(crate) fn is_cancelled(&self, endpoint: &Arc<str>, id: &MessageId) -> bool {
        let runs = self.0.lock();
        let mut found = runs.get(id).into_iter().flatten();
        found.any(|run| Arc::ptr_eq(&run.endpoint, endpoint) && !run.cancelled.lock().is_empty())
    }
}

impl Known {
    fn leave(&self) {
        let mut runs = self.at_work.0.lock();
        for id in &self.ids {
            if let Some(found) = runs.get_mut(id) {
                found.retain(|run| !Arc::ptr_eq(run, &self.run));
                if found.is_empty() {
                    runs.remove(id);
                }
            }
        }
    }

    /// The messages that were cancelled. Nobody hears from now on that it runs.
    pub(crate) fn end(self) -> Vec<MessageId> {
        self.leave();
        std::mem::take(&mut *self.run.cancelled.lock()).into_iter().map(|(id, _)| id).collect()
    }

    /// When it is to be dropped: the earliest moment of those that were said.
    fn until(&self) -> Option<Timestamp> {
        self.run.cancelled.lock().iter().map(|(_, until)| *until).min()
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Watches over a run from outside. It becomes known when it is polled first: most runs end before that, and cost
/// nothing.
pub(crate) struct Watch<'a, I> {
    surroundings: &'a Surroundings,
    ids: I,
    known: OnceLock<Known>,
}

impl<'a, I: Fn() -> Vec<MessageId>> Watch<'a, I> {
    pub(crate) fn over(surroundings: &'a Surroundings, ids: I) -> Self {
        Self { surroundings, ids, known: OnceLock::new() }
    }

    /// Ends when one of the messages is cancelled and its grace is over.
    pub(crate) async fn grace_is_over(&self) {
        let Surroundings { identity, handlers, composer, .. } = self.surroundings;
        let enter = || handlers.enter(identity, (self.ids)(), CancellationToken::new());
        let known = self.known.get_or_init(enter);
        known.run.told.cancelled().await;
        let clock = &composer.clock;
        loop {
            let grace = clock.sleep_until(known.until().unwrap_or_else(|| clock.now()));
            tokio::select! {
                () = grace => return,
                () = known.run.news.notified() => {}
            }
        }
    }

    /// The messages that were cancelled. Nobody hears from now on that it runs.
    pub(crate) fn end(self) -> Vec<MessageId> {
        self.known.into_inner().map(Known::end).unwrap_or_default()
    }
}
