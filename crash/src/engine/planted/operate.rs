//! What operators do, with a bug.

use super::bug::Bug;
use super::transport::Planted;
use std::time::Duration;
use tramline::core::clock::{Deadline, Timestamp};
use tramline::core::id::MessageId;
use tramline::core::name::{QueueName, QueueRef, TopicName};
use tramline::core::operate::{Completed, DeadGroup, DeadVisitor, Depth, Operate, Peeked, Redrive};
use tramline::core::topology::Subscription;
use tramline::core::transport::{CopyOf, Destination, Outgoing, Sender, Transport};
use tramline::core::{BoxFuture, Result};

/// Later than any run.
const NEVER: Deadline = Deadline(Timestamp::from_millis(2_000_000_000_000));

impl Planted {
    fn operated(&self) -> &dyn Operate {
        self.inner.operate().expect("a memory can be operated")
    }

    async fn redrive_in_two_steps(&self, queue: &QueueName) -> Result<u64> {
        let dead = QueueRef::Dead(queue.clone());
        let letters = self.operated().peek(&dead, None, u32::MAX).await?;
        self.operated().purge(&dead).await?;
        let copy = |letter: &Peeked| Outgoing {
            to: Destination::Queue(QueueRef::Main(queue.clone())),
            envelope: letter.envelope.clone(),
            due: None,
            copy: Some(CopyOf::Redrive),
        };
        let copies: Vec<Outgoing> = letters.iter().map(copy).collect();
        self.inner.sender().await?.send(&copies, NEVER).await;
        Ok(copies.len() as u64)
    }
}

impl Operate for Planted {
    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueName>>> {
        self.operated().queues()
    }
    fn subscriptions(&self) -> BoxFuture<'_, Result<Vec<Subscription>>> {
        self.operated().subscriptions()
    }
    fn depth<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<Depth>> {
        self.operated().depth(queue)
    }
    fn peek<'a>(
        &'a self,
        queue: &'a QueueRef,
        after: Option<i64>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Peeked>>> {
        self.operated().peek(queue, after, limit)
    }
    fn find<'a>(
        &'a self,
        queue: &'a QueueRef,
        id: &'a MessageId,
    ) -> BoxFuture<'a, Result<Option<Peeked>>> {
        self.operated().find(queue, id)
    }
    fn groups<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<Vec<DeadGroup>>> {
        self.operated().groups(queue)
    }
    fn visit_dead<'a>(
        &'a self,
        queue: &'a QueueName,
        visitor: &'a mut dyn DeadVisitor,
    ) -> BoxFuture<'a, Result<u64>> {
        self.operated().visit_dead(queue, visitor)
    }
    fn redrive<'a>(&'a self, queue: &'a QueueName, what: Redrive) -> BoxFuture<'a, Result<u64>> {
        if self.bug == Bug::RedrivesInTwoSteps {
            return Box::pin(self.redrive_in_two_steps(queue));
        }
        self.operated().redrive(queue, what)
    }
    fn purge<'a>(&'a self, queue: &'a QueueRef) -> BoxFuture<'a, Result<u64>> {
        self.operated().purge(queue)
    }
    fn completed<'a>(
        &'a self,
        queue: &'a QueueName,
        after: Option<i64>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Completed>>> {
        self.operated().completed(queue, after, limit)
    }
    fn orphans(&self) -> BoxFuture<'_, Result<Vec<Subscription>>> {
        self.operated().orphans()
    }
    fn unsubscribe<'a>(
        &'a self,
        queue: &'a QueueName,
        topic: &'a TopicName,
    ) -> BoxFuture<'a, Result<bool>> {
        self.operated().unsubscribe(queue, topic)
    }
    fn age<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<Option<Duration>>> {
        self.operated().age(queue)
    }
}
