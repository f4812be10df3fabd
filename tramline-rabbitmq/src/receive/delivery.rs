//! A message that was taken.

use super::lease::Lease;
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
    held: Held,
}

/// The hold on a message. Let go of, it gives the message back.
#[derive(Debug)]
struct Held {
    lease: Arc<Lease>,
    tag: u64,
    is_settled: bool,
}

impl RabbitMqDelivery {
    /// The delivery `tag` of `lease`; `counts`: the broker counts deliveries.
    pub(super) fn new(incoming: Incoming, lease: Arc<Lease>, tag: u64, counts: bool) -> Self {
        lease.delivered(tag);
        let record = incoming.received.record;
        Self {
            envelope: Arc::new(incoming.received.envelope),
            failures: record.failures,
            history: record.history,
            marks: record.marks,
            deliveries: incoming.deliveries.filter(|_| counts),
            held: Held { lease, tag, is_settled: false },
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
        self.marks.trials += 1;
        Ok(())
    }

    fn lost(&self) -> impl Future<Output = ()> + Send {
        self.held.lease.lost()
    }

    async fn settle(self, how: Settlement) -> Result<Settled> {
        match how {
            Settlement::Ack => Ok(self.held.done()),
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
        self.lease.give_back(self.tag)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_settled {
            self.lease.give_back(self.tag);
        }
    }
}
