//! The contract of operators, kept by a file.

use super::{look, peek, purge};
use crate::error::failed;
use crate::sqlite::Sqlite;
use crate::store::readers::LOOK_LIMIT;
use crate::writer::{Plan, Work, WriteError};
use rusqlite::{Connection, OptionalExtension};
use std::time::Duration;
use tramline_core::id::MessageId;
use tramline_core::name::{QueueName, QueueRef, TopicName};
use tramline_core::operate::{Completed, DeadGroup, Depth, Operate, Peeked, Redrive};
use tramline_core::topology::Subscription;
use tramline_core::{BoxFuture, Error, ErrorKind, Result};

/// Each look is at one consistent moment and takes nothing from anybody.
impl Operate for Sqlite {
    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueName>>> {
        Box::pin(self.core.look("list the queues", look::queues))
    }

    fn subscriptions(&self) -> BoxFuture<'_, Result<Vec<Subscription>>> {
        let look = |connection: &Connection| look::subscriptions(connection, false);
        Box::pin(self.core.look("list the subscriptions", look))
    }

    fn depth<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<Depth>> {
        let now = self.core.shared.settings.clock.now();
        Box::pin(self.look_at(queue, move |connection, id| look::depth(connection, id, now)))
    }

    /// In the order in which the messages were sent. Taken ones are shown too: they are still in
    /// the queue.
    fn peek<'a>(
        &'a self,
        queue: &'a QueueRef,
        after: Option<i64>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Peeked>>> {
        let dead = matches!(queue, QueueRef::Dead(_));
        Box::pin(self.look_at(queue.name(), move |connection, id| {
            peek::page(connection, id, dead, after, limit)
        }))
    }

    /// Reads the queue from its beginning: ids have no index, because it would cost every message.
    fn find<'a>(
        &'a self,
        queue: &'a QueueRef,
        id: &'a MessageId,
    ) -> BoxFuture<'a, Result<Option<Peeked>>> {
        let dead = matches!(queue, QueueRef::Dead(_));
        let wanted = id.to_string();
        Box::pin(
            self.look_at(queue.name(), move |connection, id| {
                peek::find(connection, id, dead, &wanted)
            }),
        )
    }

    fn groups<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<Vec<DeadGroup>>> {
        Box::pin(self.look_at(queue, look::groups))
    }

    /// In steps of at most a thousand, each of them one transaction. What somebody has taken from
    /// the dead letters and not settled stays there. With a rate up to 10,000, ten steps a
    /// second at most.
    fn redrive<'a>(&'a self, queue: &'a QueueName, what: Redrive) -> BoxFuture<'a, Result<u64>> {
        Box::pin(self.redrive_in_steps(queue, what))
    }

    /// In steps of at most a thousand, each of them one transaction.
    fn purge<'a>(&'a self, queue: &'a QueueRef) -> BoxFuture<'a, Result<u64>> {
        let dead = matches!(queue, QueueRef::Dead(_));
        Box::pin(async move {
            let last = move |connection: &Connection, id| purge::last(connection, id, dead);
            let (id, last) = self.look_at_with_id(queue.name(), last).await?;
            let mut purged = 0;
            loop {
                let plan = Plan::durable(purge::STEP);
                let step = move |work: &Work<'_>| purge::step(work, id, dead, last);
                let gone = self.core.write(plan, step).await.map_err(WriteError::into_error)?;
                purged += gone as u64;
                if gone == 0 {
                    return Ok(purged);
                }
            }
        })
    }

    fn completed<'a>(
        &'a self,
        queue: &'a QueueName,
        after: Option<i64>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Completed>>> {
        let now = self.core.shared.settings.clock.now();
        Box::pin(self.look_at(queue, move |connection, id| {
            let keep = look::keeps_completed(connection, id)?;
            let since = keep.map(|keep| now.before(keep));
            peek::completed(connection, id, since, after, limit)
        }))
    }

    fn orphans(&self) -> BoxFuture<'_, Result<Vec<Subscription>>> {
        let look = |connection: &Connection| look::subscriptions(connection, true);
        Box::pin(self.core.look("list the orphaned subscriptions", look))
    }

    fn unsubscribe<'a>(
        &'a self,
        queue: &'a QueueName,
        topic: &'a TopicName,
    ) -> BoxFuture<'a, Result<bool>> {
        const SQL: &str = "DELETE FROM tramline_subscription WHERE topic = ?1
             AND queue = (SELECT id FROM tramline_queue WHERE name = ?2)";
        let doing = format!("unsubscribe queue {queue} from topic {topic}");
        let (queue, topic) = (queue.to_string(), topic.to_string());
        Box::pin(async move {
            let unsubscribe = move |work: &Work<'_>| {
                let delete = || -> rusqlite::Result<bool> {
                    let gone = work.connection.prepare_cached(SQL)?.execute([&topic, &queue])?;
                    if gone > 0 {
                        work.touch_topology()?;
                    }
                    Ok(gone > 0)
                };
                delete().map_err(|error| failed(doing.clone(), error))
            };
            self.core.write(Plan::durable(1), unsubscribe).await.map_err(WriteError::into_error)
        })
    }

    /// Of priorities and retries, those at the head of the queue are looked at.
    fn age<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<Option<Duration>>> {
        let now = self.core.shared.settings.clock.now();
        Box::pin(self.look_at(queue, move |connection, id| look::age(connection, id, now)))
    }
}

impl Sqlite {
    /// Looks at one queue, which must have been declared.
    pub(super) async fn look_at<T: Send + 'static>(
        &self,
        queue: &QueueName,
        look: impl FnOnce(&Connection, i64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        Ok(self.look_at_with_id(queue, look).await?.1)
    }

    /// As [`Sqlite::look_at`], and answers the queue's row.
    pub(super) async fn look_at_with_id<T: Send + 'static>(
        &self,
        queue: &QueueName,
        look: impl FnOnce(&Connection, i64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<(i64, T)> {
        let name = queue.to_string();
        let looked = self.core.readers.read(LOOK_LIMIT, move |connection| {
            let id: Option<i64> = connection
                .prepare_cached("SELECT id FROM tramline_queue WHERE name = ?1")?
                .query_row([name], |row| row.get(0))
                .optional()?;
            id.map(|id| Ok((id, look(connection, id)?))).transpose()
        });
        let doing = || format!("look at queue {queue}");
        match looked.await?.map_err(|error: rusqlite::Error| failed(doing(), error))? {
            Some(looked) => Ok(looked),
            None => {
                let error = Error::new(ErrorKind::NotFound, doing());
                Err(error.because("no such queue was declared"))
            }
        }
    }
}
