//! Delivers, and takes the settlement.

use crate::lease::Lease;
use crate::row::Row;
use std::sync::Arc;
use tramline_core::capabilities::Support;
use tramline_core::dead::FailureNote;
use tramline_core::envelope::Envelope;
use tramline_core::settlement::{Marks, Settled, Settlement};
use tramline_core::store::DatabaseId;
use tramline_core::transport::{Delivery, Ticket};
use tramline_core::{Error, ErrorKind, Result};

/// A message that was taken from a queue of a [`crate::Memory`].
///
/// Dropped, it is given back: it stands in its old place at once, and nothing is charged but the
/// delivery itself. Its lease has no end of its own.
#[must_use = "an unsettled delivery comes back"]
#[derive(Debug)]
pub struct MemoryDelivery {
    lease: Lease,
    /// The row as it was when it was taken.
    row: Row,
}

impl MemoryDelivery {
    pub(crate) fn new(lease: Lease, row: Row) -> Self {
        Self { lease, row }
    }

    /// Restricted modes refuse what other brokers cannot do; see [`crate::MemoryOptions`].
    fn check(&self, how: &Settlement) -> Result<()> {
        let options = &self.lease.consumer().shared.options;
        let queue = self.lease.claim().queue;
        let is_letter = options.dead_letter.is_native() && queue == queue.dead();
        let (native, what) = match how {
            Settlement::Ack | Settlement::Return => return Ok(()),
            Settlement::Retry { after, .. } if is_letter && !after.is_zero() => {
                (Support::No, "a retry of dead letters after a pause")
            }
            Settlement::Retry { .. } => (options.delayed_retry, "native retry"),
            Settlement::DeadLetter { .. } => (options.dead_letter, "native dead letters"),
        };
        if native.is_native() { Ok(()) } else { Err(Error::unsupported(what, "memory")) }
    }
}

impl Delivery for MemoryDelivery {
    fn envelope(&self) -> &Arc<Envelope> {
        &self.row.envelope
    }

    fn failures(&self) -> u32 {
        self.row.record.failures()
    }

    fn deliveries(&self) -> Option<u32> {
        Some(self.row.deliveries)
    }

    fn history(&self) -> &[FailureNote] {
        self.row.record.history()
    }

    fn marks(&self) -> Marks {
        self.row.record.marks()
    }

    fn ticket(&self) -> Option<Ticket> {
        let claim = self.lease.claim();
        Some(Ticket {
            database: DatabaseId::clone(self.lease.database()),
            queue: claim.queue.0 as i64,
            row: claim.row,
            token: claim.token,
            born_here: self.row.born_here,
        })
    }

    /// # Errors
    /// [`ErrorKind::NotFound`]: the lease is lost, and with it the right to write to the row.
    async fn mark_trial(&mut self) -> Result<()> {
        let consumer = self.lease.consumer();
        match consumer.shared.change(|state| state.mark_trial(self.lease.claim())) {
            Settled::Done => {
                self.row.count_trial();
                Ok(())
            }
            Settled::LeaseLost => {
                let doing = format!("mark a trial in queue {}: its lease is lost", consumer.queue);
                Err(Error::new(ErrorKind::NotFound, doing))
            }
        }
    }

    async fn lost(&self) {
        self.lease.lost().await;
    }

    /// # Errors
    /// [`ErrorKind::Unsupported`] in a restricted mode. The message is given back, because the
    /// delivery is gone.
    async fn settle(self, how: Settlement) -> Result<Settled> {
        self.check(&how)?;
        Ok(self.lease.settle(how))
    }

    fn settled_by_store(self) {
        self.lease.forget();
    }
}
