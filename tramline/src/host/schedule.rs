//! When a worker runs: pure.

use std::time::Duration;
use tramline_core::clock::Timestamp;

/// What becomes of the moments that pass while a run is still under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overrun {
    /// They are left out: the next run is at the next of the planned moments.
    #[default]
    Skip,
    /// Each has its run, one directly behind the other, until none is behind; of an interval the last 1000 of
    /// them.
    Queue,
    /// They have one run together, at once. An interval counts from its beginning then.
    Late,
}

/// How many runs of an interval may be behind.
const QUEUED_MAX: u32 = 1000;

/// The planned moments.
#[derive(Clone, Debug)]
pub(super) enum Schedule {
    /// `anchor`, and so on, this far apart.
    Every { anchor: Timestamp, interval: Duration },
    #[cfg(feature = "cron")]
    Cron(crate::cron::Cron),
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

    /// What an interval counts from, and how long it is.
    fn interval(&mut self) -> Option<(&mut Timestamp, Duration)> {
        match self {
            Self::Every { anchor, interval } => Some((anchor, *interval)),
            #[cfg(feature = "cron")]
            Self::Cron(_) => None,
        }
    }

    /// The moment that the next run is planned for, after a run that was planned for `planned`, began at
    /// `began` and has ended at `ended`. Nothing: never.
    pub(super) fn next(
        &mut self,
        planned: Timestamp,
        began: Timestamp,
        ended: Timestamp,
        overrun: Overrun,
    ) -> Option<Timestamp> {
        // A run that began late was for everything that had passed by then.
        let done = if overrun == Overrun::Queue { planned } else { planned.max(began) };
        let next = self.after(done)?;
        if let Some((anchor, interval)) = self.interval() {
            let (set_back, queued) = (next.since(ended) > interval, ended.since(next));
            if set_back {
                // The clock was: it would be silent until that is made up for.
                *anchor = ended.after(interval);
                return Some(*anchor);
            }
            let most = interval.saturating_mul(QUEUED_MAX);
            if overrun == Overrun::Queue && queued > most {
                return self.after(ended.before(most));
            }
        }
        // At the very moment counts as in time.
        if next >= ended || overrun == Overrun::Queue {
            return Some(next);
        }
        if overrun == Overrun::Skip {
            return self.after(ended.before(Duration::from_micros(1)));
        }
        if let Some((anchor, _)) = self.interval() {
            *anchor = ended;
        }
        Some(ended)
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
            let start = now;
            began.push(start.as_millis() / 1000);
            now = now.after(Duration::from_secs(take.unsigned_abs()));
            planned = schedule.next(planned, start, now, overrun).unwrap();
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

    /// As after a pause for a failure.
    #[test]
    fn a_run_that_begins_late_is_for_what_has_passed_by_then_unless_each_moment_counts() {
        let next = |overrun| every(10).next(at(10), at(35), at(36), overrun);
        assert_eq!(next(Overrun::Skip), Some(at(40)));
        assert_eq!(next(Overrun::Late), Some(at(40)));
        assert_eq!(next(Overrun::Queue), Some(at(20)));
    }

    #[test]
    fn a_clock_that_is_set_back_silences_nobody() {
        for overrun in [Overrun::Skip, Overrun::Late, Overrun::Queue] {
            let mut schedule = every(60);
            let noon = 12 * 3600;
            assert_eq!(
                schedule.next(at(noon), at(noon), at(noon - 3600), overrun),
                Some(at(noon - 3540))
            );
            assert_eq!(schedule.after(at(noon - 3540)), Some(at(noon - 3480)));
        }
    }

    #[test]
    fn a_clock_that_is_set_forward_queues_no_more_than_a_thousand_runs() {
        let mut schedule = every(1);
        let next = schedule.next(at(5), at(5), at(100_000), Overrun::Queue);
        assert_eq!(next, Some(at(99_001)));
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
