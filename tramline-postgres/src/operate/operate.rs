//! The contract of operators, kept by a database.

use crate::postgres::Postgres;
use std::time::Duration;
use tramline_core::id::MessageId;
use tramline_core::name::{QueueName, QueueRef, TopicName};
use tramline_core::operate::{Completed, DeadGroup, Depth, Operate, Peeked, Redrive};
use tramline_core::topology::Subscription;
use tramline_core::{BoxFuture, Result};

/// Each look is at one consistent moment and takes nothing from anybody.
impl Operate for Postgres {
    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueName>>> {
        Box::pin(self.list_queues())
    }

    fn subscriptions(&self) -> BoxFuture<'_, Result<Vec<Subscription>>> {
        Box::pin(self.list_subscriptions(false))
    }

    fn depth<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<Depth>> {
        Box::pin(self.depth_of(queue))
    }

    /// The more important first, then in the order in which they were sent; so with dead letters, too.
    /// Taken ones are shown: they are still in the queue.
    fn peek<'a>(
        &'a self,
        queue: &'a QueueRef,
        after: Option<i64>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Peeked>>> {
        Box::pin(self.peek_at(queue, after, limit))
    }

    /// Reads the queue from its beginning: ids have no index, because it would cost every message.
    fn find<'a>(
        &'a self,
        queue: &'a QueueRef,
        id: &'a MessageId,
    ) -> BoxFuture<'a, Result<Option<Peeked>>> {
        Box::pin(self.find_in(queue, id))
    }

    fn groups<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<Vec<DeadGroup>>> {
        Box::pin(self.groups_of(queue))
    }

    /// In steps of at most a thousand, each of them one transaction. What somebody has taken from
    /// the dead letters and not settled stays there. With a rate up to 10,000, ten steps a
    /// second at most.
    fn redrive<'a>(&'a self, queue: &'a QueueName, what: Redrive) -> BoxFuture<'a, Result<u64>> {
        Box::pin(self.redrive_in_steps(queue, what))
    }

    /// In steps of at most a thousand, each of them one transaction.
    fn purge<'a>(&'a self, queue: &'a QueueRef) -> BoxFuture<'a, Result<u64>> {
        Box::pin(self.purge_in_steps(queue))
    }

    fn completed<'a>(
        &'a self,
        queue: &'a QueueName,
        after: Option<i64>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Completed>>> {
        Box::pin(self.completed_in(queue, after, limit))
    }

    fn orphans(&self) -> BoxFuture<'_, Result<Vec<Subscription>>> {
        Box::pin(self.list_subscriptions(true))
    }

    fn unsubscribe<'a>(
        &'a self,
        queue: &'a QueueName,
        topic: &'a TopicName,
    ) -> BoxFuture<'a, Result<bool>> {
        const SQL: &str = "SELECT tramline.unsubscribe($1, $2)";
        Box::pin(async move {
            let doing = format!("unsubscribe queue {queue} from topic {topic}");
            let names = [&queue.as_str() as _, &topic.as_str() as _];
            Ok(self.look_at_one(doing, SQL, &names).await?.get(0))
        })
    }

    /// Of priorities and retries, those at the head of the queue are looked at.
    fn age<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<Option<Duration>>> {
        Box::pin(self.age_of(queue))
    }
}
