//! What a store's outbox still holds, for operators.

use crate::stopping::Stopping;
use std::fmt;
use tramline_core::Result;
use tramline_core::store::{Outbox, ParkedRow};

/// The messages in a store's outbox that are not sent yet: `bus.unsent(&store)` answers it.
pub struct Unsent<'a> {
    outbox: &'a dyn Outbox,
    stopping: Stopping,
}

/// How much is not sent yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsentDepth {
    /// Waits for a relay, for its time, or for a message of its key before it.
    pub waiting: u64,
    /// Was refused too often and waits for an operator.
    pub parked: u64,
}

impl<'a> Unsent<'a> {
    pub(crate) fn of(outbox: &'a dyn Outbox, stopping: Stopping) -> Self {
        Self { outbox, stopping }
    }

    /// How much there is.
    ///
    /// # Errors
    /// The store failed.
    pub async fn depth(&self) -> Result<UnsentDepth> {
        let (waiting, parked) = self.stopping.heard(self.outbox.depth().await)?;
        Ok(UnsentDepth { waiting, parked })
    }

    /// Up to `limit` parked messages behind the row `after`, in the order in which they were
    /// published, with the reason for each. Later messages of their keys wait behind them.
    ///
    /// # Errors
    /// The store failed.
    pub async fn parked(&self, after: Option<i64>, limit: u32) -> Result<Vec<ParkedRow>> {
        self.stopping.heard(self.outbox.parked(after, limit).await)
    }

    /// Lets all parked messages try again, as if they had never been refused. Answers how many.
    ///
    /// # Errors
    /// The store failed. Nothing is changed, unless the answer was lost.
    pub async fn release(&self) -> Result<u64> {
        self.stopping.heard(self.outbox.release().await)
    }

    /// Removes these rows, if they are parked: nobody will ever get their messages, and what waits
    /// behind them goes on. Answers how many.
    ///
    /// # Errors
    /// The store failed. Nothing is changed, unless the answer was lost.
    pub async fn discard(&self, rows: &[i64]) -> Result<u64> {
        self.stopping.heard(self.outbox.discard(rows).await)
    }
}

impl fmt::Debug for Unsent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unsent")
    }
}
