//! What operators see and do.

use crate::memory::Memory;
use crate::queue::Place;
use crate::row::Row;
use std::collections::{BTreeMap, HashSet};
use std::future::ready;
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::filter::{Facts, Matcher};
use tramline_core::id::MessageId;
use tramline_core::name::{QueueName, QueueRef, TopicName};
use tramline_core::operate::{
    Completed, DeadGroup, Depth, Figure, Operate, Peeked, Redrive, Selection,
};
use tramline_core::topology::Subscription;
use tramline_core::{BoxFuture, Error, ErrorKind, Result};

/// Every call is one consistent look or change, and returns without waiting.
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
            Ok(self.shared.change(|state| {
                let rows = state.queue(number).rows(after).take(limit as usize);
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
            Ok(self.shared.change(|state| {
                let mut rows = state.queue(number).rows(None);
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
        Box::pin(async move { self.put_back_dead(queue, &what) })
    }

    fn purge<'a>(&'a self, queue: &'a QueueRef) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async {
            let number = self.shared.routes().declared(queue)?;
            let now = self.shared.now();
            Ok(self.shared.change(|state| {
                let queue = state.queue(number);
                queue.promote(|| now);
                queue.purge() as u64
            }))
        })
    }

    fn completed<'a>(
        &'a self,
        _queue: &'a QueueName,
        _after: Option<i64>,
        _limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Completed>>> {
        Box::pin(ready(Err(Error::unsupported("handled messages", "memory"))))
    }

    fn orphans(&self) -> BoxFuture<'_, Result<Vec<Subscription>>> {
        Box::pin(ready(Err(Error::unsupported("orphaned subscriptions", "memory"))))
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
                let queue = state.queue(number);
                queue.promote(|| now);
                let ready = queue.rows(None).filter(|(_, _, place)| *place == Place::Ready);
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
            state.queue(number).promote(|| now);
            let [ready, leased, delayed] =
                state.queue(number).counts().map(|count| Figure::Known(count as u64));
            let dead = state.queue(number.dead()).counts().into_iter().sum::<usize>();
            Depth { ready, leased, delayed, dead: Figure::Known(dead as u64) }
        }))
    }

    fn group(&self, queue: &QueueName) -> Result<Vec<DeadGroup>> {
        let number = self.shared.routes().declared(&QueueRef::Dead(queue.clone()))?;
        let mut groups: BTreeMap<(String, String), DeadGroup> = BTreeMap::new();
        self.shared.change(|state| {
            for (_, row, _) in state.queue(number).rows(None) {
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

    fn put_back_dead(&self, queue: &QueueName, what: &Redrive) -> Result<u64> {
        if what.rate.is_some() {
            return Err(Error::unsupported("a redrive with a rate", "memory"));
        }
        let chosen = Chosen::new(queue, &what.selection)?;
        let main = self.shared.routes().declared(&QueueRef::Main(queue.clone()))?;
        let now = self.shared.now();
        Ok(self.shared.change(|state| {
            let rows = state.queue(main.dead()).rows(None);
            let free = rows.filter(|(_, _, place)| !matches!(place, Place::Leased(_)));
            let ids: Vec<i64> =
                free.filter(|(_, row, _)| chosen.holds(row)).map(|(id, ..)| id).collect();
            if !what.dry_run {
                for &id in &ids {
                    if let Some(row) = state.queue(main.dead()).remove(id) {
                        state.put_last(main, row.redriven(now), None);
                    }
                }
            }
            ids.len() as u64
        }))
    }
}

/// A selection, ready to look at rows.
enum Chosen<'a> {
    All,
    Ids(HashSet<&'a MessageId>),
    Matching(Matcher),
}

impl<'a> Chosen<'a> {
    fn new(queue: &QueueName, selection: &'a Selection) -> Result<Self> {
        Ok(match selection {
            Selection::All => Self::All,
            Selection::Ids(ids) => Self::Ids(ids.iter().collect()),
            Selection::Matching(filter) => Self::Matching(filter.compile().map_err(|error| {
                let doing = format!("redrive dead letters of queue {queue}");
                Error::new(ErrorKind::Misconfigured, doing).because(error)
            })?),
        })
    }

    fn holds(&self, row: &Row) -> bool {
        let envelope = &row.envelope;
        match self {
            Self::All => true,
            Self::Ids(ids) => envelope.id.as_ref().is_some_and(|id| ids.contains(id)),
            Self::Matching(matcher) => {
                let mut headers = envelope.headers.clone();
                if let Some(death) = row.record.death() {
                    headers.insert("reason", death.reason.as_str());
                    if let Some(note) = death.history.notes().last() {
                        headers.insert("error", note.error.as_str());
                    }
                }
                let name = envelope.name.as_deref().unwrap_or_default();
                let subject = envelope.via.as_ref().map_or(name, |via| &via.subject);
                matcher.matches(&Facts::new(subject, &headers, &envelope.body))
            }
        }
    }
}

fn peeked(position: i64, row: &Row, place: Place) -> Peeked {
    Peeked {
        position,
        envelope: row.envelope.clone(),
        failures: row.record.failures(),
        due: match place {
            Place::Delayed(due) => Some(due),
            Place::Ready | Place::Leased(_) => None,
        },
        death: row.record.death(),
    }
}

/// Name, reason and time. What was sent to a dead-letter queue as an ordinary message has none.
fn cause_of_death(row: &Row) -> (String, String, Timestamp) {
    let name = row.envelope.name.as_deref().unwrap_or_default().to_owned();
    match row.record.death() {
        Some(death) => (name, death.reason.into(), death.failed_at),
        None => (name, "unknown".to_owned(), row.since),
    }
}
