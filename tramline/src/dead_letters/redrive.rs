//! Dead letters of one queue, for operators.

use crate::MessageId;
use crate::stopping::Stopping;
use std::fmt;
use std::sync::Arc;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tramline_core::erased::DynTransport;
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::operate::{DeadGroup, DeadVisitor, Operate, Peeked, Redrive};
use tramline_core::{BoxFuture, Error, ErrorKind, Result};

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

    /// Writes every dead letter to `to`, each as [one line of JSON](Peeked::to_json_line): all that is
    /// known of it, in their order. Answers how many. Nothing is taken, and only a page is in memory
    /// at a time, however many there are.
    ///
    /// On RabbitMQ, where looking hides, nobody else sees them until the export has ended; then they
    /// stand where they stood. So write to a file rather than to somebody who pauses: what takes over
    /// 25 minutes is stopped there (option `hold_max`).
    ///
    /// ```
    /// use tramline::core::operate::Peeked;
    /// use tramline::{Bus, Endpoint, Failure, Message};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct OrderPlaced { order_id: u64 }
    /// # impl Message for OrderPlaced { const NAME: &'static str = "orders.placed"; }
    /// # async fn refuse(_: OrderPlaced) -> Result<(), Failure> {
    /// #     Err(Failure::permanent("nothing to charge"))
    /// # }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bus = Bus::connect("memory:").await?
    ///     .endpoint(Endpoint::new("payment").handle(refuse))
    ///     .start().await?;
    /// bus.send("payment", &OrderPlaced { order_id: 7 }).await?;
    /// # while bus.dead_letters("payment")?.peek(None, 1).await?.is_empty() {
    /// #     tokio::task::yield_now().await;
    /// # }
    /// let mut file = Vec::new(); // or a `tokio::fs::File`
    /// let count = bus.dead_letters("payment")?.export(&mut file).await?;
    ///
    /// let lines = String::from_utf8(file)?;
    /// let first = Peeked::from_json_line(lines.lines().next().unwrap())?;
    /// assert_eq!((count, first.failures), (1, 1));
    /// assert!(lines.contains(r#""body":{"order_id":7}"#));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The transport cannot do it, or failed; `to` cannot be written to. What was written until then
    /// are whole lines but for the last.
    pub async fn export<W>(&self, to: &mut W) -> Result<u64>
    where
        W: AsyncWrite + Unpin + Send + ?Sized,
    {
        let mut lines = Lines { to, queue: &self.queue };
        let count = self.operate()?.visit_dead(&self.queue, &mut lines).await;
        let count = self.stopping.heard(count)?;
        lines.to.flush().await.map_err(|error| lines.failed(error))?;
        Ok(count)
    }

    fn operate(&self) -> Result<&dyn Operate> {
        let transport = self.transport.name_dyn();
        self.transport.operate_dyn().ok_or_else(|| Error::unsupported("dead letters", transport))
    }
}

/// Where an export goes.
struct Lines<'a, W: ?Sized> {
    to: &'a mut W,
    queue: &'a QueueName,
}

impl<W: ?Sized> Lines<'_, W> {
    fn failed(&self, error: std::io::Error) -> Error {
        let kind = match error.kind() {
            std::io::ErrorKind::StorageFull => ErrorKind::Full,
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, format!("write the dead letters of queue {}", self.queue)).because(error)
    }
}

impl<W: AsyncWrite + Unpin + Send + ?Sized> DeadVisitor for Lines<'_, W> {
    fn visit(&mut self, page: Vec<Peeked>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let mut lines = String::new();
            for dead in page {
                lines.push_str(&dead.to_json_line());
                lines.push('\n');
            }
            let written = self.to.write_all(lines.as_bytes()).await;
            written.map_err(|error| self.failed(error))
        })
    }
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeadLetters({})", self.queue)
    }
}
