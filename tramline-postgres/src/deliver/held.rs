//! What is held of a message that was taken: let go of, it returns.

use super::settling::Job;
use crate::open::{Core, Session};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;
use tramline_core::rows::Slot;

/// One claim: many messages that were taken together.
pub(crate) struct Lease {
    pub(super) core: Arc<Core>,
    pub(super) session: Arc<Session>,
    /// The claim's name in the database.
    pub(crate) token: i64,
    /// The queue's row.
    pub(super) queue: i32,
    /// Dead letters were taken.
    pub(super) dead: bool,
    /// Who is next can be taken once a message is settled.
    pub(super) is_ordered: bool,
    /// How many of its messages are still held.
    held: AtomicUsize,
    lost: watch::Sender<bool>,
}

/// One message of a claim. Dropped, the message can be taken again.
pub(super) struct Held {
    pub(super) lease: Arc<Lease>,
    pub(super) place: i64,
    pub(super) epoch: i32,
    returns: bool,
    /// Freed last, when the message is settled or on its way back.
    _slot: Option<Slot>,
}

impl Lease {
    pub(super) fn new(
        core: Arc<Core>,
        session: Arc<Session>,
        token: i64,
        queue: i32,
        dead: bool,
        is_ordered: bool,
        messages: usize,
    ) -> Arc<Self> {
        let (held, lost) = (AtomicUsize::new(messages), watch::Sender::new(false));
        Arc::new(Self { core, session, token, queue, dead, is_ordered, held, lost })
    }

    /// Ends when what was taken is no longer ours. Cancel-safe.
    pub(super) async fn lost(&self) {
        let mut lost = self.lost.subscribe();
        tokio::select! {
            // The sender lives as long as `self`.
            _ = lost.wait_for(|lost| *lost) => {}
            () = self.session.closed() => {}
        }
    }

    /// Somebody else has taken, or may take, what this claim held.
    pub(crate) fn lose(&self) {
        self.lost.send_replace(true);
    }

    /// Whether anything of it is still held.
    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire) > 0
    }

    /// Whether it came from this opening of the database.
    pub(crate) fn is_of(&self, session: &Arc<Session>) -> bool {
        Arc::ptr_eq(&self.session, session)
    }
}

impl Held {
    pub(super) fn new(lease: Arc<Lease>, place: i64, epoch: i32, slot: Option<Slot>) -> Self {
        Self { lease, place, epoch, returns: true, _slot: slot }
    }

    /// Nothing is to be given back any more.
    pub(super) fn settled(&mut self) {
        self.returns = false;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let lease = &self.lease;
        if self.returns {
            let (token, queue) = (lease.token, lease.queue);
            let job = Job::LetGo { token, queue, place: self.place };
            lease.core.settling.submit(&lease.core, job);
        }
        if lease.held.fetch_sub(1, Ordering::AcqRel) == 1 {
            lease.core.settling.submit(&lease.core, Job::Over(lease.token));
        }
    }
}
