//! What happens once and stays so.

use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Raised once, by anybody. To look costs no lock, because it is looked at for each message.
#[derive(Debug, Default)]
pub(super) struct Flag {
    is_raised: AtomicBool,
    rings: Notify,
}

impl Flag {
    pub(super) fn raise(&self) {
        self.is_raised.store(true, Ordering::Release);
        self.rings.notify_waiters();
    }

    pub(super) fn is_raised(&self) -> bool {
        self.is_raised.load(Ordering::Acquire)
    }

    /// Ends when it is raised. Cancel-safe.
    pub(super) async fn raised(&self) {
        // It hears every ring from here on, polled or not.
        let rings = self.rings.notified();
        if !self.is_raised() {
            rings.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn whoever_waits_hears_of_it_and_whoever_comes_later_finds_it() {
        let flag = Flag::default();
        let mut waiting = Box::pin(flag.raised());
        assert!(waiting.as_mut().now_or_never().is_none() && !flag.is_raised());
        flag.raise();
        assert!(waiting.now_or_never().is_some() && flag.is_raised());
        assert!(flag.raised().now_or_never().is_some());
    }
}
