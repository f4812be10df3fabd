//! Whether a refusal means that a queue is full: the broker does not say why it refuses.

use super::arguments::is_limited;
use super::declared::Declared;
use super::record::Record;
use crate::link::Link;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tramline_core::clock::{Clock, Deadline, SystemClock};
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::topology::{QueueSpec, Subscription};
use tramline_core::transport::Destination;
use tramline_core::{Error, ErrorKind, Result};

/// What others have declared, as it was a moment ago.
#[derive(Debug, Default)]
pub(super) struct Elsewhere(Mutex<Option<(Instant, Option<Record>)>>);

impl Declared {
    /// Whether a queue that gets what is sent `to` was declared as one that can be full, by whomever.
    /// Cancel-safe.
    pub(crate) async fn can_be_full(&self, link: &Link, to: &Destination) -> bool {
        let own = self.topology();
        let asked = |queue: &QueueName| own.queues.iter().find(|spec| spec.name == *queue).cloned();
        if is_among(to, &own.subscriptions, asked) {
            return true;
        }
        // Boxed, as it is seldom asked: a send is to be small.
        Box::pin(self.can_be_full_elsewhere(link, to)).await
    }

    async fn can_be_full_elsewhere(&self, link: &Link, to: &Destination) -> bool {
        /// A queue that elects a leader refuses too, and many are refused then.
        const ASK_EVERY: Duration = Duration::from_secs(10);
        let mut known = self.elsewhere.0.lock().await;
        if known.as_ref().is_none_or(|(asked, _)| asked.elapsed() > ASK_EVERY) {
            let record = self.recall_soon(link).await;
            if let Err(error) = &record {
                tracing::debug!(%error, "it is not known which queues can be full");
            }
            *known = Some((Instant::now(), record.ok()));
        }
        let Some((_, Some(record))) = &*known else { return false };
        is_among(to, &record.subscriptions(), |queue| record.spec(queue))
    }

    async fn recall_soon(&self, link: &Link) -> Result<Record> {
        const LIMIT: Duration = Duration::from_secs(5);
        let deadline = Deadline::after(SystemClock.now(), LIMIT);
        let recalled = async { self.recall(&link.session(deadline).await?).await };
        tokio::time::timeout(LIMIT, recalled).await.unwrap_or_else(|_| {
            let doing = format!("recall within {LIMIT:?} what was declared");
            Err(Error::new(ErrorKind::TimedOut, doing))
        })
    }
}

fn is_among(
    to: &Destination,
    subscriptions: &[Subscription],
    spec: impl Fn(&QueueName) -> Option<QueueSpec>,
) -> bool {
    let can_be_full = |queue: &QueueName| spec(queue).is_some_and(|spec| is_limited(&spec));
    match to {
        Destination::Queue(QueueRef::Main(queue)) => can_be_full(queue),
        Destination::Topic { name, .. } => {
            let mut subscribed = subscriptions.iter().filter(|known| known.topic == *name);
            subscribed.any(|known| can_be_full(&known.queue))
        }
        Destination::Queue(QueueRef::Dead(_))
        | Destination::Foreign { .. }
        | Destination::Address(_) => false,
    }
}
