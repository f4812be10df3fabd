//! A pause becomes stages: queues in which every message waits equally long.

use std::fmt;
use std::time::Duration;

/// The longest pause. A stage has one digit, and the broker's times to live end at 2³² ms.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(4_000_000);

/// How exactly a pause below 100 s is met; longer ones are met to the second.
pub(crate) const RESOLUTION: Duration = Duration::from_millis(STEP_MILLIS as u64);

const STEP_MILLIS: u32 = 50;

/// The stages that a message waits in, one after the other. Never one twice: the broker drops what
/// meets the same queue again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan(Vec<Stage>);

/// A queue in which every message waits equally long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stage {
    millis: u32,
}

/// The stages that take turns for one digit of a pause, by the shortest of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Level {
    millis: u32,
}

impl Plan {
    /// At most three stages below 100 s, at most seven above; within the resolution, never less than
    /// `pause`. `None` beyond [`PAUSE_MAX`].
    pub(crate) fn scheduled(pause: Duration) -> Option<Self> {
        const FINE_MILLIS: u32 = 100_000;
        let millis = millis(pause)?.max(1).next_multiple_of(STEP_MILLIS);
        let millis = if millis < FINE_MILLIS { millis } else { millis.next_multiple_of(1000) };
        let (seconds, fraction) = (millis / 1000, millis % 1000);
        let tens = (0..).map(|exponent| 10_u32.pow(exponent)).take_while(|ten| *ten <= seconds);
        let digits = tens.map(|ten| seconds / ten % 10 * ten * 1000);
        let mut stages: Vec<Stage> =
            [fraction].into_iter().chain(digits).map(|millis| Stage { millis }).collect();
        stages.retain(|stage| stage.millis > 0);
        // The longest first, as the number is read.
        stages.reverse();
        Some(Self(stages))
    }

    /// One stage, which is at most a quarter or 50 ms longer than `pause`, never shorter. `None` beyond
    /// [`PAUSE_MAX`].
    ///
    /// A retry asks for a while, not for a moment, and one stage costs a third of three.
    pub(crate) fn retry(pause: Duration) -> Option<Self> {
        /// No two neighbours are more than a quarter apart.
        const MANTISSAS: [u64; 15] = [10, 12, 15, 18, 20, 25, 30, 35, 40, 50, 60, 70, 80, 90, 100];
        let wanted = u64::from(millis(pause)?.max(STEP_MILLIS));
        let mut ten = 1;
        while wanted > 100 * ten {
            ten *= 10;
        }
        let stages = MANTISSAS.map(|mantissa| mantissa * ten);
        let millis = stages.into_iter().find(|millis| *millis >= wanted)?;
        Some(Self(vec![Stage { millis: u32::try_from(millis).ok()? }]))
    }

    /// The stages in their order, at least one.
    pub(crate) fn stages(&self) -> &[Stage] {
        &self.0
    }
}

/// A pause in whole milliseconds, not less than it.
fn millis(pause: Duration) -> Option<u32> {
    let millis = pause.as_micros().div_ceil(1000);
    u32::try_from(millis).ok().filter(|_| pause <= PAUSE_MAX)
}

impl Stage {
    /// How long a message waits in it, in milliseconds.
    pub(crate) fn millis(self) -> u32 {
        self.millis
    }

    /// The digit that it stands for.
    pub(crate) fn level(self) -> Level {
        let exponent = (self.millis / 1000).checked_ilog10();
        Level { millis: exponent.map_or(STEP_MILLIS, |exponent| 1000 * 10_u32.pow(exponent)) }
    }
}

/// As in the names of queues: `250ms`, `30s`.
impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_pause(f, self.millis)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_pause(f, self.millis)
    }
}

fn write_pause(f: &mut fmt::Formatter<'_>, millis: u32) -> fmt::Result {
    if millis.is_multiple_of(1000) {
        write!(f, "{}s", millis / 1000)
    } else {
        write!(f, "{millis}ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(plan: Option<Plan>) -> Vec<String> {
        plan.unwrap().stages().iter().map(Stage::to_string).collect()
    }

    fn scheduled(millis: u64) -> Vec<String> {
        names(Plan::scheduled(Duration::from_millis(millis)))
    }

    fn retry(millis: u64) -> String {
        names(Plan::retry(Duration::from_millis(millis))).concat()
    }

    #[test]
    fn a_scheduled_pause_is_written_in_digits() {
        assert_eq!(scheduled(35_250), ["30s", "5s", "250ms"]);
        assert_eq!(scheduled(35_201), ["30s", "5s", "250ms"]);
        assert_eq!(scheduled(30_050), ["30s", "50ms"]);
        assert_eq!(scheduled(0), ["50ms"]);
        assert_eq!(scheduled(99_951), ["100s"]);
        assert_eq!(scheduled(100_001), ["100s", "1s"]);
        assert_eq!(scheduled(3_999_999_000).len(), 7);
        assert_eq!(scheduled(4_000_000_000), ["4000000s"]);
    }

    #[test]
    fn a_retry_waits_in_the_shortest_stage_that_is_long_enough() {
        let pauses = [0, 51, 100, 101, 999, 1000, 1001, 5000, 5001, 65_000, 3_600_000];
        let stages =
            ["50ms", "60ms", "100ms", "120ms", "1s", "1s", "1200ms", "5s", "6s", "70s", "4000s"];
        assert_eq!(pauses.map(retry), stages);
    }

    #[test]
    fn a_pause_over_the_bound_has_no_plan() {
        let over = PAUSE_MAX + Duration::from_nanos(1);
        assert_eq!((Plan::scheduled(over), Plan::retry(over)), (None, None));
        assert_eq!(Plan::retry(PAUSE_MAX).unwrap().stages(), [Stage { millis: 4_000_000_000 }]);
        assert_eq!(Plan::scheduled(Duration::MAX), None);
    }

    #[test]
    fn a_stage_belongs_to_the_digit_that_it_stands_for() {
        let level = |millis| Stage { millis }.level().to_string();
        let millis = [50, 950, 1000, 1200, 9000, 10_000, 900_000, 4_000_000_000];
        let levels = ["50ms", "50ms", "1s", "1s", "1s", "10s", "100s", "1000000s"];
        assert_eq!(millis.map(level), levels);
    }

    proptest! {
        #[test]
        fn a_scheduled_message_is_never_early_and_late_by_the_resolution_at_most(
            micros in prop_oneof![0..100_000_000_u64, 0..4_000_000_000_000_u64],
        ) {
            let pause = Duration::from_micros(micros);
            let plan = Plan::scheduled(pause).unwrap();
            let whole: u64 = plan.stages().iter().map(|stage| u64::from(stage.millis)).sum();
            let late = Duration::from_millis(whole).checked_sub(pause);
            let is_fine = pause <= Duration::from_millis(99_950);
            let resolution = if is_fine { RESOLUTION } else { Duration::from_secs(1) };
            prop_assert!(late.is_some_and(|late| late <= resolution), "{pause:?}: {plan:?}");
            let stages_max = if is_fine { 3 } else { 7 };
            prop_assert!((1..=stages_max).contains(&plan.stages().len()));
            // Each stage leads on by its level, so that no two of a plan may share one.
            let levels = plan.stages().windows(2);
            prop_assert!(levels.into_iter().all(|two| two[0].level().millis > two[1].level().millis));
        }

        #[test]
        fn a_retry_is_never_early_and_late_by_a_quarter_or_50_ms_at_most(
            micros in prop_oneof![0..100_000_000_u64, 0..4_000_000_000_000_u64],
        ) {
            let pause = Duration::from_micros(micros);
            let plan = Plan::retry(pause).unwrap();
            let [stage] = plan.stages() else { panic!("{plan:?}") };
            let waits = Duration::from_millis(stage.millis.into());
            let late = waits.checked_sub(pause).unwrap();
            // A pause is whole milliseconds before it becomes a stage.
            let bound = (pause / 4 + Duration::from_millis(2)).max(RESOLUTION);
            prop_assert!(late <= bound, "{pause:?}: {stage:?}");
        }
    }
}
