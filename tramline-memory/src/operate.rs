//! What operators see and do.

use crate::memory::Memory;
use crate::queue::Place;
use crate::row::Row;
use std::collections::BTreeMap;
use std::future::ready;
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::id::MessageId;
use tramline_core::name::{QueueName, QueueRef, TopicName};
use tramline_core::operate::{Completed, DeadGroup, Depth, Figure, Operate, Peeked, Redrive};
use tramline_core::topology::Subscription;
use tramline_core::{BoxFuture, Result};

/// Every call is one consistent look or change, and returns without waiting; but for a redrive with
/// a rate.
impl Operate for Memory {
    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueName>>> {
        Box::pin(ready(Ok(self.shared.routes().queues().cloned().collect())))
    }

    fn subscriptions(&self) -> BoxFuture<'_, Result<Vec<Subscription>>> {
        Box::pin(ready(Ok(self.shared.routes().subscriptions().cloned().collect())))
    }

    fn depth<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<Depth>> {
        Box::pin(async { self.count(queue) })
    }

    /// The position is the row's id. Leased messages are shown too: they are still in the queue.
    fn peek<'a>(
        &'a self,
        queue: &'a QueueRef,
        after: Option<i64>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Peeked>>> {
        Box::pin(async move {
            let number = self.shared.routes().declared(queue)?;
            let now = self.shared.now();
            Ok(self.shared.change(|state| {
                let rows = state.queue_at(number, now).rows(after).take(limit as usize);
                rows.map(|(id, row, place)| peeked(id, row, place)).collect()
            }))
        })
    }

    fn find<'a>(
        &'a self,
        queue: &'a QueueRef,
        id: &'a MessageId,
    ) -> BoxFuture<'a, Result<Option<Peeked>>> {
        Box::pin(async move {
            let number = self.shared.routes().declared(queue)?;
            let now = self.shared.now();
            Ok(self.shared.change(|state| {
                let mut rows = state.queue_at(number, now).rows(None);
                let found = rows.find(|(_, row, _)| row.envelope.id.as_ref() == Some(id));
                found.map(|(position, row, place)| peeked(position, row, place))
            }))
        })
    }

    fn groups<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<Vec<DeadGroup>>> {
        Box::pin(async { self.group(queue) })
    }

    /// What somebody has taken from the dead-letter queue and not settled yet stays there.
    fn redrive<'a>(&'a self, queue: &'a QueueName, what: Redrive) -> BoxFuture<'a, Result<u64>> {
        Box::pin(self.put_back_dead(queue, what))
    }

    fn purge<'a>(&'a self, queue: &'a QueueRef) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async {
            let number = self.shared.routes().declared(queue)?;
            let now = self.shared.now();
            Ok(self.shared.change(|state| state.queue_at(number, now).purge() as u64))
        })
    }

    fn completed<'a>(
        &'a self,
        queue: &'a QueueName,
        after: Option<i64>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Completed>>> {
        Box::pin(async move {
            let number = self.shared.routes().declared(&QueueRef::Main(queue.clone()))?;
            let now = self.shared.now();
            Ok(self.shared.change(|state| {
                let kept = state.look(number).kept.as_ref().into_iter();
                let messages = kept.flat_map(|kept| kept.behind(after, now));
                messages.take(limit as usize).cloned().collect()
            }))
        })
    }

    fn orphans(&self) -> BoxFuture<'_, Result<Vec<Subscription>>> {
        Box::pin(ready(Ok(self.shared.routes().orphans().cloned().collect())))
    }

    fn unsubscribe<'a>(
        &'a self,
        queue: &'a QueueName,
        topic: &'a TopicName,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async { Ok(self.shared.declare(|routes, _| routes.unsubscribe(queue, topic))) })
    }

    fn age<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<Option<Duration>>> {
        Box::pin(async {
            let number = self.shared.routes().declared(&QueueRef::Main(queue.clone()))?;
            let now = self.shared.now();
            Ok(self.shared.change(|state| {
                let rows = state.queue_at(number, now).rows(None);
                let ready =
                    rows.filter(|(.., place)| matches!(place, Place::Ready | Place::Behind));
                ready.map(|(_, row, _)| row.since).min().map(|since| now.since(since))
            }))
        })
    }
}

impl Memory {
    fn count(&self, queue: &QueueName) -> Result<Depth> {
        let number = self.shared.routes().declared(&QueueRef::Main(queue.clone()))?;
        let now = self.shared.now();
        Ok(self.shared.change(|state| {
            let counts = state.queue_at(number, now).counts();
            let [ready, leased, delayed] = counts.map(|count| Figure::Known(count as u64));
            let dead = state.queue_at(number.dead(), now).counts().into_iter().sum::<usize>();
            Depth { ready, leased, delayed, dead: Figure::Known(dead as u64) }
        }))
    }

    fn group(&self, queue: &QueueName) -> Result<Vec<DeadGroup>> {
        let number = self.shared.routes().declared(&QueueRef::Dead(queue.clone()))?;
        let mut groups: BTreeMap<(String, String), DeadGroup> = BTreeMap::new();
        let now = self.shared.now();
        self.shared.change(|state| {
            for (_, row, _) in state.queue_at(number, now).rows(None) {
                let (name, reason, at) = cause_of_death(row);
                let group = groups
                    .entry((name.clone(), reason.clone()))
                    .or_insert_with(|| DeadGroup { name, reason, count: 0, failed: (at, at) });
                group.count += 1;
                group.failed = (group.failed.0.min(at), group.failed.1.max(at));
            }
        });
        Ok(groups.into_values().collect())
    }
}

fn peeked(position: i64, row: &Row, place: Place) -> Peeked {
    Peeked {
        position,
        envelope: row.envelope.clone(),
        failures: row.record.failures(),
        due: match place {
            Place::Delayed(due) => Some(due),
            Place::Ready | Place::Behind | Place::Leased(_) => None,
        },
        death: row.record.death(),
    }
}

/// Name, reason and time. What was sent to a dead-letter queue as an ordinary message has none.
fn cause_of_death(row: &Row) -> (String, String, Timestamp) {
    let name = row.envelope.name.as_deref().unwrap_or_default().to_owned();
    let reason =
        row.record.death().map_or_else(|| "unknown".to_owned(), |death| death.reason.into());
    (name, reason, row.died_at())
}
