//! What operators change goes wrong as well. What they look at goes through untouched.

use super::call::Call;
use super::faulty::Faulty;
use std::time::Duration;
use tramline_core::id::MessageId;
use tramline_core::name::{QueueName, QueueRef, TopicName};
use tramline_core::operate::{Completed, DeadGroup, DeadVisitor, Depth, Operate, Peeked, Redrive};
use tramline_core::topology::Subscription;
use tramline_core::transport::Transport;
use tramline_core::{BoxFuture, Result};

impl<T: Transport> Faulty<T> {
    fn operated(&self) -> &dyn Operate {
        self.inner.operate().expect("it is asked only where what is inside has it")
    }
}

impl<T: Transport> Operate for Faulty<T> {
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
        self.through(Call::Redrive, self.operated().redrive(queue, what))
    }

    fn purge<'a>(&'a self, queue: &'a QueueRef) -> BoxFuture<'a, Result<u64>> {
        self.through(Call::Purge, self.operated().purge(queue))
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
        self.through(Call::Unsubscribe, self.operated().unsubscribe(queue, topic))
    }

    fn age<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<Option<Duration>>> {
        self.operated().age(queue)
    }
}
