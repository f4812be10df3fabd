//! When a process looks after itself and after others.

use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Wakes the task that looks after leases before its time.
#[derive(Default)]
pub(crate) struct Beat {
    at_once: Notify,
    soon: Notify,
}

/// How often it looks while there is something to see.
const OFTEN: Duration = Duration::from_secs(1);

impl Beat {
    /// What shows that this process lives has changed.
    pub(crate) fn at_once(&self) {
        self.at_once.notify_one();
    }

    /// Something was taken, here or perhaps elsewhere.
    pub(crate) fn soon(&self) {
        self.soon.notify_one();
    }

    /// Ends when it is time to look again: `every` so often, or [`OFTEN`] where there is something to
    /// see. `last` is when it last looked. Answers whether somebody has asked for it. Cancel-safe.
    pub(crate) async fn next(&self, last: Instant, every: Duration, is_often: bool) -> bool {
        let often = last + OFTEN.min(every);
        let asked = async {
            tokio::select! {
                () = self.at_once.notified() => {}
                () = self.soon.notified() => tokio::select! {
                    () = self.at_once.notified() => {}
                    () = sleep_until(often) => {}
                }
            }
        };
        timeout_at(if is_often { often } else { last + every }, asked).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn it_looks_at_once_or_soon_when_it_is_asked() {
        let beat = Beat::default();
        let began = Instant::now();
        beat.at_once();
        assert!(beat.next(began, EVERY, false).await);
        let long_ago = began - OFTEN;
        beat.soon();
        assert!(beat.next(long_ago, EVERY, false).await, "it is late already");
        assert!(!beat.next(long_ago, EVERY, true).await, "unasked");
        beat.soon();
        assert!(beat.next(began, EVERY, false).await);
        assert!(began.elapsed() >= OFTEN, "not more often than that");
    }
}
