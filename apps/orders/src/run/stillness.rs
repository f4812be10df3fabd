//! Notices that nothing moves any more.

use super::look::Look;
use std::time::Duration;
use tokio::time::Instant;

/// How long nothing has moved.
#[derive(Debug)]
pub(super) struct Stillness {
    last: Look,
    since: Instant,
}

/// After how long a run hangs: longer than any lease, so that what a process held that is stuck
/// comes back before.
const HANGING_AFTER: Duration = Duration::from_secs(90);

impl Stillness {
    pub(super) fn new(now: Instant) -> Self {
        Self { last: Look::default(), since: now }
    }

    /// Whether the run hangs, as `look` was made at `now`.
    pub(super) fn hangs(&mut self, look: &Look, now: Instant) -> bool {
        if *look != self.last {
            *self = Self { last: look.clone(), since: now };
        }
        now.duration_since(self.since) >= HANGING_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_hangs_after_a_while_without_any_movement() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let look = |mails| Look { mails, ..Look::default() };
        let mut stillness = Stillness::new(start);
        assert!(!stillness.hangs(&look(1), at(10)));
        assert!(!stillness.hangs(&look(1), at(99)));
        assert!(!stillness.hangs(&look(2), at(101)));
        assert!(!stillness.hangs(&look(2), at(190)));
        assert!(stillness.hangs(&look(2), at(191)));
    }
}
