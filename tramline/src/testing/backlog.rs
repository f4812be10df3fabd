//! What still waits in a memory and in the outboxes of stores.

use std::fmt;
use std::sync::Arc;
use tramline_core::Result;
use tramline_core::erased::DynStore;
use tramline_core::name::QueueName;
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
