//! A clock that can be set back, and whose timers go on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use tramline::core::clock::{Clock, ManualClock, Timestamp};

#[derive(Clone)]
pub(crate) struct WallClock {
    timer: ManualClock,
    back_seconds: Arc<AtomicU64>,
}

impl WallClock {
    pub(crate) fn of(timer: &ManualClock) -> Self {
        Self { timer: timer.clone(), back_seconds: Arc::default() }
    }

    pub(crate) fn set_back(&self, by: Duration) {
        self.back_seconds.fetch_add(by.as_secs(), SeqCst);
    }
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        self.timer.now().before(Duration::from_secs(self.back_seconds.load(SeqCst)))
    }

    fn sleep_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let clock = self.clone();
        Box::pin(async move {
            while at > clock.now() {
                clock.sleep_at_most_until(at).await;
            }
        })
    }

    fn sleep_at_most_until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.timer.sleep_until(self.timer.now().after(at.since(self.now())))
    }
}
