//! What one opening of a file holds: closing a bus must not close a store on the same file.

use crate::deliver::held::Lease;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};
use tokio::sync::watch;
use tramline_core::name::QueueName;
use tramline_core::topology::Topology;

/// The receivers and senders that came from one `open`, and what they have taken.
pub(crate) struct Session {
    closed: watch::Sender<bool>,
    leases: Mutex<Vec<Weak<Lease>>>,
    /// Temporary queues that were declared here.
    temporary: Mutex<Vec<QueueName>>,
}

impl Session {
    pub(crate) fn new() -> Self {
        Self {
            closed: watch::Sender::new(false),
            leases: Mutex::default(),
            temporary: Mutex::default(),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Ends when the session is closed. Cancel-safe.
    pub(crate) async fn closed(&self) {
        // The sender lives as long as `self`.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// Remembers what was taken, for the day that the session is closed.
    pub(crate) fn took(&self, lease: &Arc<Lease>) {
        let mut leases = self.leases.lock();
        if leases.len() == leases.capacity() {
            leases.retain(|lease| lease.strong_count() > 0);
        }
        leases.push(Arc::downgrade(lease));
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

    /// Closes the session. Answers the tokens of the claims of which something is still held.
    pub(crate) fn close(&self) -> Vec<i64> {
        self.closed.send_replace(true);
        let leases = std::mem::take(&mut *self.leases.lock());
        leases.iter().filter_map(Weak::upgrade).map(|lease| lease.token).collect()
    }
}
