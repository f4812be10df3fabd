//! Retry policies as data: a list of pauses, indexed by all failures so far.

use crate::Failure;
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{fmt, sync::Arc, time::Duration};

/// How often and after which pauses a failed message is tried again.
///
/// ```
/// use std::time::Duration;
/// use tramline::Retry;
///
/// let retry = Retry::exponential(Duration::from_millis(200)).max(Duration::from_secs(1)).runs(5);
/// let pauses: Vec<_> = (1..=5).map(|failures| retry.pause(failures, 1.0)).collect();
/// let millis = |n| Some(Duration::from_millis(n));
/// assert_eq!(pauses, [millis(200), millis(400), millis(800), millis(1000), None]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    pauses: Pauses,
    runs: u32,
    jitter: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Pauses {
    Fixed(Duration),
    List(Vec<Duration>),
    Incremental { first: Duration, step: Duration },
    Exponential { first: Duration, factor: f64, max: Duration },
}

/// Runs in all, where a policy does not say.
const RUNS_DEFAULT: u32 = 5;
/// The longest pause of an exponential policy that does not say.
const PAUSE_MAX_DEFAULT: Duration = Duration::from_secs(60 * 60);

/// 5 runs: exponential from 200 ms to at most 60 s, with jitter.
impl Default for Retry {
    fn default() -> Self {
        Self::exponential(Duration::from_millis(200)).max(Duration::from_secs(60)).jitter()
    }
}

impl Retry {
    /// One run and no more: a failure goes straight to the dead-letter queue.
    pub fn none() -> Self {
        Self::of(Pauses::List(Vec::new()), 1)
    }

    /// `runs` runs in all, without a pause.
    pub fn immediate(runs: u32) -> Self {
        Self::of(Pauses::Fixed(Duration::ZERO), runs)
    }

    /// The same pause each time.
    pub fn fixed(pause: Duration) -> Self {
        Self::of(Pauses::Fixed(pause), RUNS_DEFAULT)
    }

    /// These pauses, one after the other: one run more than there are pauses.
    pub fn list(pauses: impl IntoIterator<Item = Duration>) -> Self {
        let pauses: Vec<_> = pauses.into_iter().collect();
        let runs = u32::try_from(pauses.len()).unwrap_or(u32::MAX).saturating_add(1);
        Self::of(Pauses::List(pauses), runs)
    }

    /// `first`, then each pause longer than the one before by `step`.
    pub fn incremental(first: Duration, step: Duration) -> Self {
        Self::of(Pauses::Incremental { first, step }, RUNS_DEFAULT)
    }

    /// `first`, then each pause twice the one before, up to an hour or [`Retry::max`].
    pub fn exponential(first: Duration) -> Self {
        let pauses = Pauses::Exponential { first, factor: 2.0, max: PAUSE_MAX_DEFAULT };
        Self::of(pauses, RUNS_DEFAULT)
    }

    fn of(pauses: Pauses, runs: u32) -> Self {
        Self { pauses, runs: runs.max(1), jitter: false }
    }

    /// How many runs there are in all, the first included; at least 1. A list has no more than
    /// its pauses allow.
    #[must_use]
    pub fn runs(mut self, runs: u32) -> Self {
        self.runs = runs.max(1);
        self
    }

    /// The longest pause of an exponential policy.
    #[must_use]
    pub fn max(mut self, pause: Duration) -> Self {
        if let Pauses::Exponential { max, .. } = &mut self.pauses {
            *max = pause;
        }
        self
    }

    /// By how much an exponential policy grows; 2 if it does not say, at least 1.
    #[must_use]
    pub fn factor(mut self, by: f64) -> Self {
        if let Pauses::Exponential { factor, .. } = &mut self.pauses {
            *factor = if by.is_finite() { by.max(1.0) } else { 1.0 };
        }
        self
    }

    /// Full jitter: each pause is anything between nothing and the whole, so that messages that
    /// failed together do not come back together.
    #[must_use]
    pub fn jitter(mut self) -> Self {
        self.jitter = true;
        self
    }

    /// The pause after so many failures, from 1; `None` when the policy has come to its end.
    /// `fraction` (0 to 1) is the chance that jitter draws.
    pub fn pause(&self, failures: u32, fraction: f64) -> Option<Duration> {
        let whole = self.whole_pause(failures)?;
        Some(if self.jitter { part(whole, fraction) } else { whole })
    }

    /// The pause before jitter.
    fn whole_pause(&self, failures: u32) -> Option<Duration> {
        if failures >= self.runs {
            return None;
        }
        let earlier = failures.saturating_sub(1);
        match &self.pauses {
            Pauses::Fixed(pause) => Some(*pause),
            Pauses::List(pauses) => pauses.get(earlier as usize).copied(),
            Pauses::Incremental { first, step } => {
                Some(first.saturating_add(step.saturating_mul(earlier)))
            }
            Pauses::Exponential { first, factor, max } => {
                if first.is_zero() {
                    return Some(Duration::ZERO);
                }
                // A policy that was read may have a factor that `factor` would not have taken.
                let factor = factor.max(1.0);
                let seconds = first.as_secs_f64() * factor.powf(f64::from(earlier));
                Some(Duration::try_from_secs_f64(seconds).map_or(*max, |pause| pause.min(*max)))
            }
        }
    }

    /// The longest pause that this policy can ask for.
    pub fn pause_max(&self) -> Duration {
        match &self.pauses {
            Pauses::List(pauses) => pauses.iter().take(self.count()).max().copied(),
            // Each pause is at least as long as the one before.
            _ => self.whole_pause(self.runs.saturating_sub(1).max(1)),
        }
        .unwrap_or_default()
    }

    /// All pauses together, at most.
    pub fn pauses_total(&self) -> Duration {
        let count = self.count();
        let times =
            |pause: Duration, n: usize| pause.saturating_mul(u32::try_from(n).unwrap_or(u32::MAX));
        match &self.pauses {
            Pauses::Fixed(pause) => times(*pause, count),
            Pauses::List(pauses) => sum(pauses.iter().take(count).copied()),
            Pauses::Incremental { first, step } => {
                // n pauses have n * (n - 1) / 2 steps in them.
                let n = count as u128;
                let steps = step.as_nanos().saturating_mul(n * n.saturating_sub(1) / 2);
                let steps = Duration::from_nanos_u128(steps.min(Duration::MAX.as_nanos()));
                times(*first, count).saturating_add(steps)
            }
            Pauses::Exponential { .. } => {
                // One by one while they grow, which 64 doublings end; then all are alike, or at
                // least no longer than the last.
                const GROWING_MAX: usize = 1000;
                let growing = count.min(GROWING_MAX);
                let pauses = (1..=growing as u32).map_while(|n| self.whole_pause(n));
                sum(pauses).saturating_add(times(self.pause_max(), count - growing))
            }
        }
    }

    /// How many pauses there can be at most.
    pub(crate) fn pauses_max(&self) -> u32 {
        let listed = match &self.pauses {
            Pauses::List(pauses) => u32::try_from(pauses.len()).unwrap_or(u32::MAX),
            _ => u32::MAX,
        };
        listed.min(self.runs.saturating_sub(1))
    }

    /// How many pauses there can be.
    fn count(&self) -> usize {
        self.runs.saturating_sub(1) as usize
    }
}

fn sum(pauses: impl Iterator<Item = Duration>) -> Duration {
    pauses.fold(Duration::ZERO, Duration::saturating_add)
}

/// The `fraction` of `whole`.
fn part(whole: Duration, fraction: f64) -> Duration {
    let seconds = whole.as_secs_f64() * fraction.clamp(0.0, 1.0);
    Duration::try_from_secs_f64(seconds).map_or(whole, |part| part.min(whole))
}

/// The policies of one endpoint: the first that is meant for the error, else the default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Retries {
    pub(crate) default: Retry,
    by_error: Vec<(ErrorTest, Retry)>,
}

#[derive(Clone)]
struct ErrorTest(Arc<dyn Fn(&Failure) -> bool + Send + Sync>);

impl fmt::Debug for ErrorTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErrorTest")
    }
}

impl Retries {
    /// The same policy for all failures.
    #[cfg(test)]
    pub(crate) fn of(default: Retry) -> Self {
        Self { default, by_error: Vec::new() }
    }

    /// Failures that `test` accepts follow `retry`.
    pub(crate) fn when(
        &mut self,
        test: impl Fn(&Failure) -> bool + Send + Sync + 'static,
        retry: Retry,
    ) {
        self.by_error.push((ErrorTest(Arc::new(test)), retry));
    }

    /// The policy for `failure`. A test that panics is not meant for it: the message must be
    /// settled all the same, else it would come again at once and for ever.
    pub(crate) fn policy(&self, failure: &Failure) -> &Retry {
        let is_meant = |test: &ErrorTest| {
            let asked = catch_unwind(AssertUnwindSafe(|| (test.0)(failure)));
            asked.unwrap_or_else(|_| {
                tracing::error!("a test of an error panicked: the next policy counts");
                false
            })
        };
        let meant = self.by_error.iter().find(|(test, _)| is_meant(test));
        meant.map_or(&self.default, |(_, retry)| retry)
    }

    /// Every policy there is.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Retry> {
        std::iter::once(&self.default).chain(self.by_error.iter().map(|(_, retry)| retry))
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pauses(retry: &Retry) -> Vec<u64> {
        (1..100).map_while(|n| retry.pause(n, 1.0)).map(|pause| pause.as_secs()).collect()
    }

    #[test]
    fn each_kind_has_its_pauses() {
        assert_eq!(pauses(&Retry::none()), Vec::<u64>::new());
        assert_eq!(pauses(&Retry::immediate(3)), [0, 0]);
        assert_eq!(pauses(&Retry::fixed(SECOND).runs(4)), [1, 1, 1]);
        assert_eq!(pauses(&Retry::list([SECOND, 5 * SECOND])), [1, 5]);
        assert_eq!(pauses(&Retry::incremental(SECOND, 2 * SECOND).runs(4)), [1, 3, 5]);
        let exponential = Retry::exponential(SECOND).factor(3.0).max(20 * SECOND).runs(6);
        assert_eq!(pauses(&exponential), [1, 3, 9, 20, 20]);
    }

    #[test]
    fn a_list_ends_with_its_pauses_whatever_the_runs() {
        assert_eq!(pauses(&Retry::list([SECOND]).runs(10)), [1]);
        assert_eq!(pauses(&Retry::list([SECOND, SECOND]).runs(2)), [1]);
    }

    #[test]
    fn huge_exponents_end_at_the_cap() {
        let retry = Retry::exponential(SECOND).max(7 * SECOND).runs(u32::MAX);
        assert_eq!(retry.pause(4_000_000, 1.0), Some(7 * SECOND));
    }

    #[test]
    fn full_jitter_draws_from_nothing_to_the_whole() {
        let retry = Retry::fixed(10 * SECOND).jitter();
        assert_eq!(retry.pause(1, 0.0), Some(Duration::ZERO));
        assert_eq!(retry.pause(1, 0.5), Some(5 * SECOND));
        assert_eq!(retry.pause(1, 1.0), Some(10 * SECOND));
    }

    #[test]
    fn the_first_policy_that_is_meant_for_an_error_counts() {
        let mut retries = Retries::of(Retry::none());
        retries.when(|failure| failure.find::<std::fmt::Error>().is_some(), Retry::immediate(2));
        assert_eq!(*retries.policy(&Failure::from(std::fmt::Error)), Retry::immediate(2));
        assert_eq!(*retries.policy(&Failure::retryable("other")), Retry::none());
    }

    #[test]
    fn totals_count_whole_pauses() {
        let retry = Retry::list([SECOND, 3 * SECOND]).jitter();
        assert_eq!((retry.pause_max(), retry.pauses_total()), (3 * SECOND, 4 * SECOND));
    }

    #[test]
    fn totals_are_those_of_the_pauses_one_by_one() {
        let kinds = [
            Retry::none(),
            Retry::immediate(7),
            Retry::fixed(SECOND),
            Retry::list([3 * SECOND, SECOND, 9 * SECOND]).runs(3),
            Retry::incremental(SECOND, 2 * SECOND),
            Retry::exponential(SECOND).max(60 * SECOND),
            Retry::exponential(Duration::ZERO),
        ];
        for retry in
            kinds.into_iter().flat_map(|retry| [1, 2, 5, 40].map(|n| retry.clone().runs(n)))
        {
            let pauses: Vec<_> = (1..retry.runs).map_while(|n| retry.whole_pause(n)).collect();
            assert_eq!(retry.pauses_total(), pauses.iter().sum::<Duration>(), "{retry:?}");
            assert_eq!(retry.pause_max(), pauses.iter().max().copied().unwrap_or_default());
        }
    }

    #[test]
    fn totals_of_endless_policies_are_known_at_once() {
        let endless = |retry: Retry| retry.runs(u32::MAX).pauses_total();
        assert_eq!(endless(Retry::immediate(2)), Duration::ZERO);
        assert_eq!(endless(Retry::fixed(SECOND)), (u32::MAX - 1) * SECOND);
        assert!(endless(Retry::exponential(SECOND).max(SECOND)) >= (u32::MAX - 1001) * SECOND);
        assert_eq!(endless(Retry::fixed(Duration::MAX)), Duration::MAX);
        assert!(endless(Retry::incremental(SECOND, SECOND)) > Duration::from_secs(1 << 33));
    }

    #[test]
    fn totals_of_exponential_policies_that_do_not_grow_are_exact() {
        let nothing = Retry::exponential(Duration::ZERO).runs(u32::MAX);
        assert_eq!(nothing.pauses_total(), Duration::ZERO);
        let constant = Retry::exponential(SECOND).factor(1.0).runs(3001);
        assert_eq!(constant.pauses_total(), 3000 * SECOND);
    }

    #[test]
    fn totals_of_incremental_policies_reach_beyond_centuries() {
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        let retry = Retry::incremental(year, 1000 * year).runs(4);
        assert_eq!(retry.pauses_total(), 3003 * year);
        assert_eq!(retry.pause_max(), 2001 * year);
    }

    #[test]
    fn a_policy_that_was_read_grows_even_if_its_factor_says_otherwise() {
        let written = serde_json::to_string(&Retry::exponential(SECOND).runs(3)).unwrap();
        for factor in ["0.5", "-3.0", "0.0"] {
            let text = written.replace("2.0", factor);
            let retry: Retry = serde_json::from_str(&text).unwrap();
            assert_eq!(pauses(&retry), [1, 1], "{text}");
            assert_eq!((retry.pause_max(), retry.pauses_total()), (SECOND, 2 * SECOND), "{text}");
        }
    }

    #[test]
    fn a_pause_of_nothing_stays_nothing_however_often_it_is_doubled() {
        let retry = Retry::exponential(Duration::ZERO).runs(u32::MAX);
        assert_eq!(retry.pause(4_000, 1.0), Some(Duration::ZERO));
    }

    #[test]
    fn jitter_of_the_longest_pause_does_not_overflow() {
        assert_eq!(Retry::fixed(Duration::MAX).jitter().pause(1, 1.0), Some(Duration::MAX));
    }
}
