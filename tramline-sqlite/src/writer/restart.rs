//! When the writer tries to begin its log anew, and how long it waits for it.

use super::log::PASSIVE_BYTES;
use std::time::{Duration, Instant};

/// How long the first try waits for readers, while everybody waits for it; each further try twice
/// as long.
const PATIENCE_MIN: Duration = Duration::from_millis(25);
/// Readers that take longer let the log grow.
const PATIENCE_MAX: Duration = Duration::from_millis(400);
/// Where tries fail, they wait for one part in so many of the time: each process that has the file
/// open tries by itself, and all of them wait for each.
const TIME_PER_PATIENCE: u32 = 20;
/// What it takes to have a turn at all beside others who write.
const TURN: Duration = Duration::from_millis(10);

/// So much before its limit the log is brought back while nobody writes, so that little is left to
/// do when it begins anew: what is written in the meantime.
const AHEAD_BYTES: u64 = 2 * PASSIVE_BYTES;

/// What was done about the log since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Restart {
    has_caught_up: bool,
    /// Tries that have failed.
    failures: u32,
    failed_at: Option<Instant>,
    /// Bytes in the log below which there is no further try.
    not_before: u64,
}

/// What is to be done about the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    /// The log is to be brought back while nobody writes.
    CatchUp,
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
            // A shorter log has little to sync.
            let is_near = limit >= 2 * AHEAD_BYTES && bytes >= limit - AHEAD_BYTES;
            return if is_near && !self.has_caught_up { Next::CatchUp } else { Next::Nothing };
        }
        let readers = hold_back();
        // One that reads for long is not waited for with the others held back.
        if readers > 0 && bytes < due + PASSIVE_BYTES { Next::LetReadersEnd } else { Next::Try }
    }

    /// The log was brought back.
    pub(super) fn caught_up(self) -> Self {
        Self { has_caught_up: true, ..self }
    }

    /// How long a try may wait that begins `now`.
    pub(super) fn patience(self, now: Instant) -> Duration {
        let longer = PATIENCE_MIN.saturating_mul(1 << self.failures.min(10)).min(PATIENCE_MAX);
        let Some(failed_at) = self.failed_at else { return longer };
        let earned = now.saturating_duration_since(failed_at) / TIME_PER_PATIENCE;
        earned.clamp(TURN, longer)
    }

    /// After a try that ended `now`, with `bytes` in the log. The longer the log, the further away
    /// is the next: a reader that keeps it for long is met a few times only. `fraction`, of 0 to 1,
    /// varies it: readers in step with tries at even distances would meet each of them.
    pub(super) fn failed(self, bytes: u64, fraction: f64, now: Instant) -> Self {
        let distance = PASSIVE_BYTES.max(bytes / 4) as f64 * (0.25 + fraction);
        Self {
            failures: self.failures.saturating_add(1),
            failed_at: Some(now),
            not_before: bytes + distance as u64,
            ..self
        }
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
    fn the_log_is_brought_back_once_shortly_before_its_limit() {
        let limit = 4 * AHEAD_BYTES;
        let next = |restart: Restart, bytes| restart.next(bytes, limit, || 0);
        assert_eq!(next(Restart::default(), limit - AHEAD_BYTES - 1), Next::Nothing);
        assert_eq!(next(Restart::default(), limit - AHEAD_BYTES), Next::CatchUp);
        assert_eq!(next(Restart::default(), limit - 1), Next::CatchUp);
        assert_eq!(next(Restart::default(), limit), Next::Try);
        assert_eq!(next(Restart::default().caught_up(), limit - AHEAD_BYTES), Next::Nothing);
        assert_eq!(next(Restart::default().caught_up(), limit), Next::Try);
        assert_eq!(Restart::default().next(1, AHEAD_BYTES, || 0), Next::Nothing);
    }

    #[test]
    fn after_a_failure_the_next_try_is_at_a_distance_that_varies_and_grows_with_the_log() {
        let now = Instant::now();
        for (bytes, distance) in [(LIMIT, PASSIVE_BYTES), (64 * PASSIVE_BYTES, 16 * PASSIVE_BYTES)]
        {
            for (fraction, quarters) in [(0.0, 1), (0.5, 3), (0.75, 4)] {
                let failed = Restart::default().failed(bytes, fraction, now);
                let due = bytes + distance / 4 * quarters;
                assert_eq!(failed.next(due - 1, LIMIT, || 0), Next::Nothing);
                assert_eq!(failed.next(due, LIMIT, || 0), Next::Try);
            }
        }
    }

    #[test]
    fn each_try_waits_for_longer_and_for_no_more_than_its_share_of_the_time_since_the_last() {
        let now = Instant::now();
        let after = |failures| {
            (0..failures).fold(Restart::default(), |restart, _| restart.failed(LIMIT, 0.0, now))
        };
        assert_eq!(after(0).patience(now), PATIENCE_MIN);
        let much_later = now + Duration::from_secs(3600);
        assert_eq!(after(1).patience(much_later), 2 * PATIENCE_MIN);
        assert_eq!(after(100).patience(much_later), PATIENCE_MAX);
        assert_eq!(after(100).patience(now + Duration::from_secs(2)), PATIENCE_MAX / 4);
        assert_eq!(after(100).patience(now), TURN);
    }

    #[test]
    fn beside_a_reader_that_does_not_end_tries_take_a_small_share_of_the_time() {
        const MIB: u64 = 1024 * 1024;
        const BEGINS_AT: u64 = 64;
        for mib_per_second in [1, 10, 100] {
            let begun = Instant::now();
            let (mut now, mut waited, mut restart) = (begun, Duration::ZERO, Restart::default());
            let mut fractions = [0.1, 0.9, 0.3, 0.7].into_iter().cycle();
            for bytes in (BEGINS_AT..32 * BEGINS_AT).map(|mib| mib * MIB) {
                now += Duration::from_secs(1) / mib_per_second;
                if restart.next(bytes, BEGINS_AT * MIB, || 0) == Next::Try {
                    let patience = restart.patience(now);
                    (now, waited) = (now + patience, waited + patience);
                    restart = restart.failed(bytes, fractions.next().unwrap_or(0.5), now);
                }
                let share = waited.as_secs_f64() / (now - begun + PATIENCE_MAX).as_secs_f64();
                assert!(share < 0.08, "{share} at {bytes} bytes, {mib_per_second} MiB/s");
            }
            assert!(restart.failures > 10, "{restart:?}");
        }
    }
}
