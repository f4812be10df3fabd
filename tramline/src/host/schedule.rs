//! When a worker runs: pure.

use std::time::Duration;
use tramline_core::clock::Timestamp;

/// What becomes of the moments that pass while a run is still under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overrun {
    /// They are left out: the next run is at the next of the planned moments.
    #[default]
    Skip,
    /// Each has its run, one directly behind the other, until none is behind.
    Queue,
    /// They have one run together, at once. An interval counts from its beginning then.
    Late,
}

/// The planned moments.
#[derive(Clone, Debug)]
pub(super) enum Schedule {
    /// `anchor`, and so on, this far apart.
    Every { anchor: Timestamp, interval: Duration },
    #[cfg(feature = "cron")]
    Cron(super::cron::Cron),
}

impl Schedule {
    /// The first planned moment behind `moment`, if there is one.
    pub(super) fn after(&self, moment: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every { anchor, interval } => {
                if moment < *anchor {
                    return Some(*anchor);
                }
                let interval = interval.as_micros().max(1);
                let passed = moment.since(*anchor).as_micros() / interval;
                let micros = (passed + 1).saturating_mul(interval);
                let micros = u64::try_from(micros).unwrap_or(u64::MAX);
                Some(anchor.after(Duration::from_micros(micros)))
            }
            #[cfg(feature = "cron")]
            Self::Cron(cron) => cron.after(moment),
        }
    }

    /// When to run next: the run that was planned for `planned` has ended at `ended`, and there is to be a
    /// pause until `not_before`. Nothing: never.
    pub(super) fn next(
        &mut self,
        planned: Timestamp,
        ended: Timestamp,
        overrun: Overrun,
        not_before: Timestamp,
    ) -> Option<Timestamp> {
        let next = self.after(planned)?;
        // At the very moment counts as in time.
        let is_behind = next < ended;
        let next = match overrun {
            _ if !is_behind => next,
            Overrun::Queue => next,
            Overrun::Skip => self.after(Timestamp::from_micros(ended.as_micros() - 1))?,
            Overrun::Late => {
                if let Self::Every { anchor, .. } = self {
                    *anchor = ended;
                }
                ended
            }
        };
        Some(next.max(not_before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn every(seconds: u64) -> Schedule {
        Schedule::Every { anchor: at(0), interval: Duration::from_secs(seconds) }
    }

    /// The moments of runs that take so long each.
    fn runs(overrun: Overrun, take: &[i64]) -> Vec<i64> {
        let (mut schedule, mut planned) = (every(10), at(0));
        let mut now = planned;
        let mut began = Vec::new();
        for take in take {
            now = now.max(planned);
            began.push(now.as_millis() / 1000);
            now = now.after(Duration::from_secs(take.unsigned_abs()));
            planned = schedule.next(planned, now, overrun, at(0)).unwrap();
        }
        began
    }

    #[test]
    fn a_run_that_takes_too_long_leaves_out_what_passes_meanwhile() {
        assert_eq!(runs(Overrun::Skip, &[3, 10, 25, 1, 1]), [0, 10, 20, 50, 60]);
    }

    #[test]
    fn or_all_of_it_is_made_up_for() {
        assert_eq!(runs(Overrun::Queue, &[3, 25, 1, 1, 1, 1]), [0, 10, 35, 36, 40, 50]);
    }

    #[test]
    fn or_it_runs_once_at_once_and_counts_from_there() {
        assert_eq!(runs(Overrun::Late, &[3, 25, 1, 1]), [0, 10, 35, 45]);
    }

    #[test]
    fn a_pause_after_a_failure_moves_the_next_run() {
        let mut schedule = every(10);
        assert_eq!(schedule.next(at(0), at(3), Overrun::Skip, at(17)), Some(at(17)));
        // The plan stays what it was.
        assert_eq!(schedule.next(at(17), at(18), Overrun::Skip, at(0)), Some(at(20)));
    }

    proptest! {
        #[test]
        fn the_next_moment_is_the_nearest_behind(
            anchor in -1_000_000i64..1_000_000, interval in 1u64..100_000,
            moment in -2_000_000i64..2_000_000,
        ) {
            let step = Duration::from_micros(interval);
            let schedule =
                Schedule::Every { anchor: Timestamp::from_micros(anchor), interval: step };
            let next = schedule.after(Timestamp::from_micros(moment)).unwrap().as_micros();
            prop_assert!(next > moment);
            prop_assert!(next >= anchor);
            prop_assert_eq!((next - anchor) % interval as i64, 0);
            prop_assert!(next == anchor || next - moment <= interval as i64);
        }
    }
}
