//! One opening of a database, until it is closed.

use parking_lot::Mutex;
use tokio::sync::watch;
use tramline_core::name::QueueName;
use tramline_core::topology::Topology;

/// Whether what came from this opening may still be used.
#[derive(Debug)]
pub(crate) struct Session {
    closed: watch::Sender<bool>,
    /// Temporary queues that were declared here.
    temporary: Mutex<Vec<QueueName>>,
}

impl Default for Session {
    fn default() -> Self {
        Self { closed: watch::Sender::new(false), temporary: Mutex::default() }
    }
}

impl Session {
    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Ends when the session is closed. Cancel-safe.
    pub(crate) async fn closed(&self) {
        // The sender lives as long as `self`.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// Remembers temporary queues, for the day that the session is closed.
    pub(crate) fn declared(&self, topology: &Topology) {
        let mut known = self.temporary.lock();
        for spec in topology.queues.iter().filter(|spec| spec.temporary) {
            if !known.contains(&spec.name) {
                known.push(spec.name.clone());
            }
        }
    }

    pub(crate) fn has_declared(&self, queue: &QueueName) -> bool {
        self.temporary.lock().contains(queue)
    }

    /// The temporary queues, which are to be removed.
    pub(crate) fn forget_temporary(&self) -> Vec<QueueName> {
        std::mem::take(&mut *self.temporary.lock())
    }

    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
    }
}
