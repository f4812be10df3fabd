//! Dead letters of one queue, for operators.

use crate::MessageId;
use crate::stopping::Stopping;
use std::fmt;
use std::sync::Arc;
use tramline_core::erased::DynTransport;
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::operate::{DeadGroup, Operate, Peeked, Redrive};
use tramline_core::{Error, Result};

/// The dead letters of one queue.
#[derive(Clone)]
pub struct DeadLetters {
    transport: Arc<dyn DynTransport>,
    queue: QueueName,
    stopping: Stopping,
}

impl DeadLetters {
    pub(crate) fn of(
        transport: Arc<dyn DynTransport>,
        queue: QueueName,
        stopping: Stopping,
    ) -> Self {
        Self { transport, queue, stopping }
    }

    /// Puts every dead letter back into its queue: failures 0, expiry cleared, the same id.
    /// Answers how many.
    ///
    /// # Errors
    /// The transport cannot do it, or failed.
    pub async fn redrive_all(&self) -> Result<u64> {
        self.redrive(Redrive::all()).await
    }

    /// Puts the dead letters with these ids back into their queue. Answers how many there were.
    ///
    /// # Errors
    /// The transport cannot do it, or failed.
    pub async fn redrive_ids(&self, ids: impl IntoIterator<Item = MessageId>) -> Result<u64> {
        self.redrive(Redrive::ids(ids)).await
    }

    /// Redrives as `what` says. One transaction where the transport can; else at least once.
    ///
    /// # Errors
    /// The transport cannot do it, or failed.
    pub async fn redrive(&self, what: Redrive) -> Result<u64> {
        self.stopping.heard(self.operate()?.redrive(&self.queue, what).await)
    }

    /// Up to `limit` dead letters behind position `after`. Nothing is taken.
    ///
    /// # Errors
    /// The transport cannot do it, or failed.
    pub async fn peek(&self, after: Option<i64>, limit: u32) -> Result<Vec<Peeked>> {
        let dead = QueueRef::Dead(self.queue.clone());
        self.stopping.heard(self.operate()?.peek(&dead, after, limit).await)
    }

    /// The dead letter with this id.
    ///
    /// # Errors
    /// The transport cannot do it, or failed.
    pub async fn find(&self, id: &MessageId) -> Result<Option<Peeked>> {
        let dead = QueueRef::Dead(self.queue.clone());
        self.stopping.heard(self.operate()?.find(&dead, id).await)
    }

    /// How many there are by name and reason.
    ///
    /// # Errors
    /// The transport cannot do it, or failed.
    pub async fn groups(&self) -> Result<Vec<DeadGroup>> {
        self.stopping.heard(self.operate()?.groups(&self.queue).await)
    }

    fn operate(&self) -> Result<&dyn Operate> {
        let transport = self.transport.name_dyn();
        self.transport.operate_dyn().ok_or_else(|| Error::unsupported("dead letters", transport))
    }
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeadLetters({})", self.queue)
    }
}
