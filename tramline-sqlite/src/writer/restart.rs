//! When the writer tries to begin its log anew, and how long it waits for it.

use super::log::PASSIVE_BYTES;
use std::time::Duration;

/// How long the first try waits for readers, while everybody waits for it; each further try twice
/// as long.
const PATIENCE_MIN: Duration = Duration::from_millis(25);
/// Readers that take longer let the log grow.
const PATIENCE_MAX: Duration = Duration::from_millis(400);

/// Tries that have failed since the log began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Restart {
    failures: u32,
    /// Bytes in the log below which there is no further try.
    not_before: u64,
}

/// What is to be done about the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    /// Readers of this process are at work. They end soon, and the next of them wait.
    LetReadersEnd,
    Try,
}

impl Restart {
    /// With `bytes` in the log, which may have `limit`. `hold_back` holds this process's readers
    /// back and answers how many are at work.
    pub(super) fn next(self, bytes: u64, limit: u64, hold_back: impl FnOnce() -> usize) -> Next {
        let due = limit.max(self.not_before);
        if bytes < due {
            return Next::Nothing;
        }
        let readers = hold_back();
        // One that reads for long is not waited for with the others held back.
        if readers > 0 && bytes < due + PASSIVE_BYTES { Next::LetReadersEnd } else { Next::Try }
    }

    pub(super) fn patience(self) -> Duration {
        PATIENCE_MIN.saturating_mul(1 << self.failures.min(10)).min(PATIENCE_MAX)
    }

    /// After a try with `bytes` in the log. `fraction`, of 0 to 1, varies when the next one is:
    /// readers in step with tries at even distances would meet each of them.
    pub(super) fn failed(self, bytes: u64, fraction: f64) -> Self {
        let distance = PASSIVE_BYTES as f64 * (0.25 + fraction);
        Self { failures: self.failures.saturating_add(1), not_before: bytes + distance as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 1024 * 1024;

    #[test]
    fn below_the_limit_nobody_is_held_back_and_above_it_readers_end_first() {
        let next = |bytes, readers| Restart::default().next(bytes, LIMIT, || readers);
        let untouched = || unreachable!("nobody is to be held back");
        assert_eq!(Restart::default().next(LIMIT - 1, LIMIT, untouched), Next::Nothing);
        assert_eq!(next(LIMIT, 0), Next::Try);
        assert_eq!(next(LIMIT, 1), Next::LetReadersEnd);
        assert_eq!(next(LIMIT + PASSIVE_BYTES - 1, 1), Next::LetReadersEnd);
        assert_eq!(next(LIMIT + PASSIVE_BYTES, 1), Next::Try);
    }

    #[test]
    fn after_a_failure_the_next_try_is_at_a_distance_that_varies_and_waits_longer() {
        let failed = |fraction| Restart::default().failed(LIMIT, fraction);
        for (fraction, quarters) in [(0.0, 1), (0.5, 3), (0.75, 4)] {
            let due = LIMIT + PASSIVE_BYTES / 4 * quarters;
            assert_eq!(failed(fraction).next(due - 1, LIMIT, || 0), Next::Nothing);
            assert_eq!(failed(fraction).next(due, LIMIT, || 0), Next::Try);
        }
        assert_eq!(Restart::default().patience(), PATIENCE_MIN);
        assert_eq!(failed(0.0).patience(), 2 * PATIENCE_MIN);
        let often = (0..100).fold(Restart::default(), |restart, _| restart.failed(LIMIT, 0.0));
        assert_eq!(often.patience(), PATIENCE_MAX);
    }
}
