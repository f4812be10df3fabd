//! The contract of operations.

use super::browse::{Browser, Taken, standing};
use crate::link::Session;
use crate::rabbitmq::RabbitMq;
use lapin::options::QueuePurgeOptions;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::clock::{Clock, Deadline, SystemClock, Timestamp};
use tramline_core::envelope::Envelope;
use tramline_core::id::MessageId;
use tramline_core::name::{QueueName, QueueRef, TopicName};
use tramline_core::operate::{
    Completed, DeadGroup, DeadVisitor, Depth, Figure, Operate, Peeked, Redrive,
};
use tramline_core::topology::Subscription;
use tramline_core::{BoxFuture, Error, ErrorKind, Result};

/// How long an operator waits for a connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// How deep one may look into a queue that is worked on: all that stands before is held meanwhile.
const LOOK_MAX: u64 = 10_000;
/// The same for dead letters, which nobody waits for.
const LOOK_AT_DEAD_MAX: u64 = 1_000_000;

/// What RabbitMQ shows, it shows to who takes it. So looking ([`peek`](Operate::peek),
/// [`find`](Operate::find), and among dead letters [`groups`](Operate::groups),
/// [`visit_dead`](Operate::visit_dead) and [`redrive`](Operate::redrive)) hides for a moment what is
/// looked at: messages from the head of the queue on, which then go back to their places. Positions are
/// places from the head, and move with it.
///
/// To a quorum queue each look is a delivery. So look at work that waits on demand, never in a loop: a
/// message that came back twice is handled alone, and after as many deliveries as its
/// `x-delivery-limit` says it becomes a dead letter. Dead letters may be looked at as often as one
/// likes.
impl Operate for RabbitMq {
    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueName>>> {
        Box::pin(async {
            Ok(self.shared.declared.recall(&self.session_to_operate().await?).await?.queues())
        })
    }

    fn subscriptions(&self) -> BoxFuture<'_, Result<Vec<Subscription>>> {
        Box::pin(async {
            let record = self.shared.declared.recall(&self.session_to_operate().await?).await?;
            Ok(record.subscriptions())
        })
    }

    fn depth<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<Depth>> {
        Box::pin(self.count(queue))
    }

    /// Up to 10,000 places deep; among dead letters up to a million. What is not ready is not seen.
    fn peek<'a>(
        &'a self,
        queue: &'a QueueRef,
        after: Option<i64>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Peeked>>> {
        Box::pin(self.look(queue, after, limit))
    }

    /// As deep as [`peek`](Self::peek).
    fn find<'a>(
        &'a self,
        queue: &'a QueueRef,
        id: &'a MessageId,
    ) -> BoxFuture<'a, Result<Option<Peeked>>> {
        Box::pin(self.look_for(queue, id))
    }

    fn groups<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<Vec<DeadGroup>>> {
        Box::pin(self.group(queue))
    }

    /// What is shown is held until the end, and goes back to its place then: nobody else sees it
    /// meanwhile. The broker bounds how long that may be, so a visitor who takes longer than the option
    /// `hold_max` is stopped, and so is whoever waits for it. If this is dropped, or the connection breaks,
    /// they go back too, but no order is promised.
    fn visit_dead<'a>(
        &'a self,
        queue: &'a QueueName,
        visitor: &'a mut dyn DeadVisitor,
    ) -> BoxFuture<'a, Result<u64>> {
        Box::pin(self.show_dead(queue, visitor))
    }

    /// By confirmed copies, each before its dead letter is removed: who dies in between leaves a
    /// duplicate. Dead letters that are not chosen are held until the end, for as long as the option
    /// `hold_max` says at most.
    fn redrive<'a>(&'a self, queue: &'a QueueName, what: Redrive) -> BoxFuture<'a, Result<u64>> {
        Box::pin(self.put_back_dead(queue, what))
    }

    fn purge<'a>(&'a self, queue: &'a QueueRef) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let doing = format!("purge queue {queue}");
            let name = self.shared.name_of(queue)?;
            let channel = self.session_to_operate().await?.channel().await?;
            standing(&channel, &name, &doing).await?;
            let purged = channel.queue_purge(name, QueuePurgeOptions::default()).await;
            Ok(purged.map_err(|error| crate::error::failed(doing, error))?.into())
        })
    }

    fn completed<'a>(
        &'a self,
        _queue: &'a QueueName,
        _after: Option<i64>,
        _limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Completed>>> {
        Box::pin(async { Err(Error::unsupported("handled messages", "rabbitmq")) })
    }

    fn orphans(&self) -> BoxFuture<'_, Result<Vec<Subscription>>> {
        Box::pin(async {
            Ok(self.shared.declared.recall(&self.session_to_operate().await?).await?.orphans())
        })
    }

    fn unsubscribe<'a>(
        &'a self,
        queue: &'a QueueName,
        topic: &'a TopicName,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            let session = self.session_to_operate().await?;
            self.shared.declared.unsubscribe(&session, queue, topic).await
        })
    }

    /// To the second, and only of classic queues: quorum queues do not say it.
    fn age<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<Option<Duration>>> {
        Box::pin(async move {
            let name = self.shared.name_of(&QueueRef::Main(queue.clone()))?;
            let Some(management) = &self.shared.management else { return Ok(None) };
            let figures = management.queue(name.as_str()).await?;
            let since = figures.head_message_timestamp.and_then(|seconds| {
                Some(Timestamp::from_millis(i64::try_from(seconds).ok()?.checked_mul(1000)?))
            });
            Ok(since.map(|since| SystemClock.now().since(since)))
        })
    }
}

impl RabbitMq {
    /// The connection that operators share with consumers; they have channels of their own.
    pub(super) async fn session_to_operate(&self) -> Result<Session> {
        self.shared.consuming.session(Deadline::after(SystemClock.now(), PATIENCE)).await
    }

    pub(super) async fn browse(&self, queue: &QueueRef) -> Result<Browser> {
        let name = self.shared.name_of(queue)?;
        Browser::begin(&self.session_to_operate().await?, queue, name).await
    }

    async fn count(&self, queue: &QueueName) -> Result<Depth> {
        let doing = format!("count queue {queue}");
        let channel = self.session_to_operate().await?.channel().await?;
        let (main, dead) = (QueueRef::Main(queue.clone()), QueueRef::Dead(queue.clone()));
        let (main, dead) = (self.shared.name_of(&main)?, self.shared.name_of(&dead)?);
        let standing_now = standing(&channel, &main, &doing).await?;
        let dead_now = standing(&channel, &dead, &doing).await?;
        let leased = match &self.shared.management {
            Some(management) => match management.queue(main.as_str()).await {
                Ok(figures) => figures.messages_unacknowledged.map_or(UNCOUNTED, Figure::Known),
                Err(error) => {
                    tracing::warn!(%queue, %error, "a figure is missing");
                    Figure::Unknown("the management API did not answer")
                }
            },
            None => Figure::Unknown("no management API was given: add it to the URL"),
        };
        Ok(Depth {
            ready: Figure::Known(standing_now.ready),
            leased,
            delayed: Figure::Unknown("messages for all queues wait together in the delay stages"),
            dead: Figure::Known(dead_now.ready),
        })
    }

    async fn look(&self, queue: &QueueRef, after: Option<i64>, limit: u32) -> Result<Vec<Peeked>> {
        let after = after.map_or(0, |position| u64::try_from(position).unwrap_or(0));
        let end = after.saturating_add(limit.into());
        if end > look_max(queue) {
            return Err(too_deep(queue));
        }
        let mut browser = self.browse(queue).await?;
        let mut peeked = Vec::new();
        let mut passed = 0;
        while passed < end {
            let wanted = u32::try_from(end - passed).unwrap_or(u32::MAX);
            let page = browser.page(wanted).await?;
            if page.is_empty() {
                break;
            }
            for taken in page {
                passed += 1;
                if passed > after {
                    peeked.push(shown(passed, taken));
                }
            }
        }
        browser.give_back().await?;
        Ok(peeked)
    }

    async fn look_for(&self, queue: &QueueRef, id: &MessageId) -> Result<Option<Peeked>> {
        let mut browser = self.browse(queue).await?;
        let mut passed = 0;
        let mut found = None;
        while found.is_none() && passed < look_max(queue) {
            let page = browser.page(u32::MAX).await?;
            if page.is_empty() {
                break;
            }
            for taken in page {
                passed += 1;
                if found.is_none() && taken.incoming.received.envelope.id.as_ref() == Some(id) {
                    found = Some(shown(passed, taken));
                }
            }
        }
        let is_seen_through = browser.left() == 0;
        browser.give_back().await?;
        match found {
            None if !is_seen_through => Err(too_deep(queue)),
            found => Ok(found),
        }
    }

    async fn group(&self, queue: &QueueName) -> Result<Vec<DeadGroup>> {
        let mut browser = self.browse(&QueueRef::Dead(queue.clone())).await?;
        let mut groups: BTreeMap<(String, String), DeadGroup> = BTreeMap::new();
        loop {
            let page = browser.page(u32::MAX).await?;
            if page.is_empty() {
                break;
            }
            for Taken { incoming, .. } in page {
                let envelope = &incoming.received.envelope;
                let name = envelope.name.as_deref().unwrap_or_default().to_owned();
                let death = incoming.received.record.death;
                // What somebody sent there by hand has no reason.
                let (reason, at) = death.map_or_else(
                    || ("unknown".to_owned(), envelope.sent_at.unwrap_or_default()),
                    |death| (death.reason.into(), death.failed_at),
                );
                let group = groups
                    .entry((name.clone(), reason.clone()))
                    .or_insert_with(|| DeadGroup { name, reason, count: 0, failed: (at, at) });
                group.count += 1;
                group.failed = (group.failed.0.min(at), group.failed.1.max(at));
            }
        }
        browser.give_back().await?;
        Ok(groups.into_values().collect())
    }
}

const UNCOUNTED: Figure = Figure::Unknown("the management API has not counted it yet");

fn look_max(queue: &QueueRef) -> u64 {
    match queue {
        QueueRef::Main(_) => LOOK_MAX,
        QueueRef::Dead(_) => LOOK_AT_DEAD_MAX,
    }
}

fn too_deep(queue: &QueueRef) -> Error {
    let max = look_max(queue);
    Error::new(ErrorKind::Unsupported, format!("look behind place {max} of queue {queue}")).because(
        "RabbitMQ shows only what is taken, and all that stands before would be held meanwhile",
    )
}

/// What stands at a place from the head, from 1.
pub(super) fn shown(position: u64, taken: Taken) -> Peeked {
    let received = taken.incoming.received;
    let death = received.record.death_record();
    Peeked {
        position: i64::try_from(position).unwrap_or(i64::MAX),
        failures: received.record.failures,
        envelope: Arc::new(as_it_stands(received.envelope, death.is_some())),
        due: None,
        death,
    }
}

/// A dead letter came through no topic any more.
fn as_it_stands(mut envelope: Envelope, is_dead: bool) -> Envelope {
    if is_dead {
        envelope.via = None;
    }
    envelope
}
