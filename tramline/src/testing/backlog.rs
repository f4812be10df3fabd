//! What still waits in a memory and in the outboxes of stores.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::Result;
use tramline_core::clock::Timestamp;
use tramline_core::erased::DynStore;
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::operate::Operate;
use tramline_memory::Memory;

/// How much there is to do, queue by queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    queues: Vec<(QueueName, Waiting)>,
    /// Rows that no relay has sent yet, and rows that are parked.
    outbox: (u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiting {
    ready: u64,
    leased: u64,
    delayed: u64,
    dead: u64,
}

/// How long nothing may have changed before the clock skips to the next moment that a message waits
/// for: what else waits, such as a relay that looks every second, need not be waited for then.
const SKIP_AFTER: Duration = Duration::from_secs(10 * 60);

impl Backlog {
    /// Looks at every queue of `memory` and at every outbox of `stores`.
    pub(crate) async fn of(memory: &Memory, stores: &[Arc<dyn DynStore>]) -> Result<Self> {
        let mut backlog = Self::default();
        for queue in memory.queues().await? {
            let depth = memory.depth(&queue).await?;
            let [ready, leased, delayed, dead] =
                [depth.ready, depth.leased, depth.delayed, depth.dead]
                    .map(|figure| figure.known().unwrap_or_default());
            backlog.queues.push((queue, Waiting { ready, leased, delayed, dead }));
        }
        for store in stores {
            let (waiting, parked) = store.outbox_dyn().depth().await?;
            backlog.outbox.0 += waiting;
            backlog.outbox.1 += parked;
        }
        Ok(backlog)
    }

    /// Nothing is to be done any more, but for what waits for an operator.
    pub(crate) fn is_done(&self) -> bool {
        self.outbox.0 == 0
            && self.queues.iter().all(|(_, waiting)| {
                waiting.ready == 0 && waiting.leased == 0 && waiting.delayed == 0
            })
    }

    /// When the next message is due, if nothing else is left and nothing has moved for long.
    pub(crate) async fn skips_to(&self, memory: &Memory, still: Duration) -> Option<Timestamp> {
        let waits = |(_, waiting): &(_, Waiting)| waiting.ready == 0 && waiting.leased == 0;
        if still < SKIP_AFTER || self.outbox.0 > 0 || !self.queues.iter().all(waits) {
            return None;
        }
        let mut due = None;
        for (queue, _) in self.queues.iter().filter(|(_, waiting)| waiting.delayed > 0) {
            let waiting = memory.peek(&QueueRef::Main(queue.clone()), None, u32::MAX).await;
            let first =
                waiting.unwrap_or_default().into_iter().filter_map(|peeked| peeked.due).min();
            due = due.into_iter().chain(first).min();
        }
        due
    }

    /// Something waits for a later time.
    pub(crate) fn has_delayed(&self) -> bool {
        self.outbox.0 > 0 || self.queues.iter().any(|(_, waiting)| waiting.delayed > 0)
    }
}

impl fmt::Display for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (queue, waiting) in &self.queues {
            let Waiting { ready, leased, delayed, dead } = waiting;
            writeln!(
                f,
                "  queue {queue}: {ready} ready, {leased} at work, {delayed} delayed, {dead} dead"
            )?;
        }
        let (waiting, parked) = self.outbox;
        write!(f, "  outbox: {waiting} waiting, {parked} parked")
    }
}
