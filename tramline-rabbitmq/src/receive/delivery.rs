//! A message that was taken.

use super::lease::{Lease, Origin};
use super::trials::{Key, forget, mark};
use crate::wire::Incoming;
use std::sync::Arc;
use tramline_core::dead::{FailureNote, History};
use tramline_core::envelope::Envelope;
use tramline_core::settlement::{Marks, Settled, Settlement};
use tramline_core::transport::{Delivery, Ticket};
use tramline_core::{Error, Result};

/// A message from a queue of the broker's.
///
/// Holds its channel open. Dropped unsettled, it goes back to its queue at once.
#[derive(Debug)]
pub struct RabbitMqDelivery {
    envelope: Arc<Envelope>,
    failures: u32,
    history: History,
    marks: Marks,
    deliveries: Option<u32>,
    /// How many of the trials are remembered by the broker, and not in the headers.
    remembered: u32,
    /// How many of them the broker may know of: more than it is sure to, if it gave no answer.
    to_forget: u32,
    held: Held,
}

/// The hold on a message. Let go of, it gives the message back.
#[derive(Debug)]
struct Held {
    lease: Arc<Lease>,
    tag: u64,
    /// There is an order that it has a place in.
    has_place: bool,
    is_settled: bool,
}

impl RabbitMqDelivery {
    /// The delivery `tag` of `lease`; `counts`: the broker counts deliveries.
    pub(super) fn new(incoming: Incoming, lease: Arc<Lease>, tag: u64, counts: bool) -> Self {
        lease.delivered(tag);
        let has_place = lease.origin().order.has_place_for(&incoming.received.envelope);
        let record = incoming.received.record;
        Self {
            envelope: Arc::new(incoming.received.envelope),
            failures: record.failures,
            history: record.history,
            marks: record.marks,
            deliveries: incoming.deliveries.filter(|_| counts),
            remembered: 0,
            to_forget: 0,
            held: Held { lease, tag, has_place, is_settled: false },
        }
    }

    /// Whether it may have been handled alone before, so that the broker should be asked.
    pub(super) fn may_have_been_tried(&self) -> bool {
        // A copy that was tried before is handled alone from its first delivery on.
        let tried_from = if self.marks.trials > 0 { 2 } else { 3 };
        self.deliveries.is_some_and(|deliveries| deliveries >= tried_from)
    }

    /// With the trials that the broker remembers. Without an answer, it is as if there were none:
    /// then it is tried once more.
    pub(super) async fn with_trials(mut self) -> Self {
        let lease = self.held.lease.clone();
        let Origin { shared, queue, .. } = lease.origin();
        match shared.trials.count(shared, self.key()).await {
            Ok(count) => {
                (self.remembered, self.to_forget) = (count, count);
                self.marks.trials = self.marks.trials.saturating_add(count);
            }
            Err(error) => tracing::warn!(%queue, %error, "counted as not handled alone yet"),
        }
        self
    }

    fn key(&self) -> Key {
        Key::of(&self.held.lease.origin().queue, &self.envelope)
    }

    /// Its trials end with it: a message of the same id that comes later is not to blame.
    async fn forget_trials(&self) {
        let lease = &self.held.lease;
        let forgotten = tokio::select! {
            biased;
            forgotten = forget(lease.session(), self.key(), self.to_forget) => forgotten,
            () = lease.lost() => return,
        };
        if let Err(error) = forgotten {
            let queue = &lease.origin().queue;
            tracing::warn!(%queue, %error, "if it is redriven, its trials still count");
        }
    }

    /// Whether the broker has taken it back.
    pub(super) fn is_lost(&self) -> bool {
        self.held.lease.is_lost()
    }
}

impl Delivery for RabbitMqDelivery {
    fn envelope(&self) -> &Arc<Envelope> {
        &self.envelope
    }

    fn failures(&self) -> u32 {
        self.failures
    }

    fn deliveries(&self) -> Option<u32> {
        self.deliveries
    }

    fn history(&self) -> &[FailureNote] {
        self.history.notes()
    }

    fn marks(&self) -> Marks {
        self.marks
    }

    fn ticket(&self) -> Option<Ticket> {
        None
    }

    async fn mark_trial(&mut self) -> Result<()> {
        if self.deliveries.is_none() {
            // Nobody would know when to look for the mark.
            let what = "trials in a queue that does not count deliveries";
            return Err(Error::unsupported(what, "rabbitmq"));
        }
        let next = self.remembered.saturating_add(1);
        self.to_forget = next;
        mark(self.held.lease.session(), self.key(), next).await?;
        self.remembered = next;
        self.marks.trials = self.marks.trials.saturating_add(1);
        Ok(())
    }

    fn lost(&self) -> impl Future<Output = ()> + Send {
        self.held.lease.lost()
    }

    async fn settle(self, how: Settlement) -> Result<Settled> {
        match how {
            Settlement::Ack => {
                if self.to_forget > 0 {
                    self.forget_trials().await;
                }
                Ok(self.held.done())
            }
            Settlement::Return => Ok(self.held.give_back()),
            // The engine sends a copy and acks. What was refused goes back with the drop.
            Settlement::Retry { .. } => {
                Err(Error::unsupported("a retry without a copy", "rabbitmq"))
            }
            Settlement::DeadLetter { .. } => {
                Err(Error::unsupported("a dead letter without a copy", "rabbitmq"))
            }
        }
    }

    /// No store shares its transactions with a broker: the message goes back.
    fn settled_by_store(self) {}
}

impl Held {
    fn done(mut self) -> Settled {
        self.is_settled = true;
        self.lease.done(self.tag)
    }

    fn give_back(mut self) -> Settled {
        self.is_settled = true;
        self.lease.give_back(self.tag, self.has_place)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_settled {
            self.lease.give_back(self.tag, self.has_place);
        }
    }
}
