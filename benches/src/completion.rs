//! Tells when the last message was handled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// Counts messages down. Clones count together.
#[derive(Clone)]
pub(crate) struct Completion(Arc<Countdown>);

struct Countdown {
    left: AtomicU64,
    ended: Notify,
}

impl Completion {
    pub(crate) fn of(messages: u64) -> Self {
        Self(Arc::new(Countdown { left: AtomicU64::new(messages), ended: Notify::new() }))
    }

    /// One message was handled.
    pub(crate) fn count(&self) {
        if self.0.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.ended.notify_one();
        }
    }

    /// Ends when all were handled. For one waiter.
    pub(crate) async fn wait(&self) {
        while self.0.left.load(Ordering::Acquire) > 0 {
            self.0.ended.notified().await;
        }
    }
}
