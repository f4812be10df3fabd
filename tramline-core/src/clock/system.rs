//! The machine's own clock and chance: the one place that reads them.

use super::{Clock, Entropy, Timestamp};
use crate::BoxFuture;
use std::time::{Duration, SystemTime};

/// The machine's clock, with Tokio's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the time")]
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        // Tokio's timer does not go on while the machine is suspended, and knows nothing of a wall
        // clock that is set: that is asked again and again.
        const SLICE: Duration = Duration::from_secs(30);
        Box::pin(async move {
            loop {
                let left = at.since(Self.now());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(SLICE)).await;
            }
        })
    }

    fn sleep_at_most_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let (left, over) = (at.since(self.now()), self.sleep_until(at));
        Box::pin(async move {
            let _is_early = tokio::time::timeout(left, over).await;
        })
    }
}

/// The machine's random numbers, from a generator seeded by the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn bits(&self) -> u128 {
        rand::random()
    }
}
