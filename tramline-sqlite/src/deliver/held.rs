//! What is held of a message that was taken: let go of, it returns.

use crate::open::core::Core;
use crate::open::session::Session;
use std::sync::Arc;
use tramline_core::rows::Slot;

/// One claim: many messages that were taken together.
pub(crate) struct Lease {
    pub(crate) core: Arc<Core>,
    pub(crate) session: Arc<Session>,
    /// The claim's name in the database.
    pub(crate) token: i64,
    /// How often this process had entered the file when it took them.
    pub(crate) entry: u64,
    /// The queue's row.
    pub(crate) queue: i64,
}

/// One message of a claim. Dropped, the message goes back to its place in the queue.
pub(crate) struct Held {
    pub(crate) lease: Arc<Lease>,
    pub(crate) seq: i64,
    settled: bool,
    /// Freed last, when the message is settled or on its way back.
    _slot: Option<Slot>,
}

impl Lease {
    /// Ends when what was taken is no longer ours. Cancel-safe.
    pub(crate) async fn lost(&self) {
        let mut entries = self.core.shared.entries.subscribe();
        tokio::select! {
            // The sender lives as long as the core, which this lease holds.
            _ = entries.wait_for(|entries| *entries > self.entry) => {}
            () = self.session.closed() => {}
        }
    }
}

impl Held {
    pub(crate) fn new(lease: Arc<Lease>, seq: i64, slot: Option<Slot>) -> Self {
        Self { lease, seq, settled: false, _slot: slot }
    }

    /// Nothing is to be given back any more.
    pub(crate) fn settled(&mut self) {
        self.settled = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.settled {
            self.lease.core.give_back(self.lease.token, self.seq);
        }
    }
}
