//! What a breaker is made of. What is wrong is said by the bus that it is given to.

use super::CircuitBreaker;
use super::breaker::Counts;
use super::machine::Rules;
use crate::Failure;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::clock::Clock;

/// A breaker to be built: [`CircuitBreaker::named`].
#[must_use = "a breaker is made by `.build()`"]
pub struct CircuitBreakerBuilder {
    pub(super) name: String,
    pub(super) rules: Rules,
    pub(super) counts: Option<Counts>,
    pub(super) clock: Option<Arc<dyn Clock>>,
}

impl CircuitBreakerBuilder {
    pub(super) fn new(name: String) -> Self {
        let rules = Rules {
            failure_rate: 0.5,
            window: Duration::from_secs(30),
            calls_min: 10,
            open_for: Duration::from_secs(30),
            probes: 1,
        };
        Self { name, rules, counts: None, clock: None }
    }

    /// Opens when this share of the calls in the window has failed: above 0 and at most 1; 0.5 if not said.
    pub fn failure_rate(mut self, share: f64) -> Self {
        self.rules.failure_rate = share;
        self
    }

    /// How far back calls count, up to a tenth of it less; 30 seconds if not said.
    pub fn window(mut self, window: Duration) -> Self {
        self.rules.window = window;
        self
    }

    /// Does not open before so many calls are in the window; 10 if not said.
    pub fn calls_min(mut self, calls: u32) -> Self {
        self.rules.calls_min = calls;
        self
    }

    /// For how long it stays open before it tries again; 30 seconds if not said.
    pub fn open_for(mut self, pause: Duration) -> Self {
        self.rules.open_for = pause;
        self
    }

    /// How many calls are let through at once to try whether the dependency is back; when so many have
    /// succeeded, it closes. One that fails opens it again, unless others have succeeded and it is the first:
    /// then it has failed for its own sake. 1 if not said.
    pub fn probes(mut self, calls: u32) -> Self {
        self.rules.probes = calls;
        self
    }

    /// Which failures say that the dependency is down. If not said: all that are retried, so that time limits
    /// and panics count, and permanent ones do not: these say that the message is bad. What does not count
    /// says nothing either way.
    pub fn counts(mut self, counts: impl Fn(&Failure) -> bool + Send + Sync + 'static) -> Self {
        self.counts = Some(Box::new(counts));
        self
    }

    /// Takes the time from `clock`. If not said, from the clock of the first bus that starts with it; before,
    /// from the machine's own.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// The breaker, closed. Figures that make no sense are reported by [`BusBuilder::start`](crate::BusBuilder::start)
    /// of a bus with an endpoint that it is given to, and by [`CircuitBreaker::call`].
    pub fn build(self) -> CircuitBreaker {
        CircuitBreaker::built(self)
    }

    /// Everything that is wrong, in words.
    pub(super) fn problems(&self) -> Vec<String> {
        let rules = self.rules;
        let share = rules.failure_rate;
        let mut problems = Vec::new();
        let mut wrong = |is_wrong: bool, what: &str| {
            if is_wrong {
                problems.push(format!("circuit breaker `{}`: {what}", self.name));
            }
        };
        wrong(self.name.is_empty(), "it has no name");
        wrong(
            !(share > 0.0 && share <= 1.0),
            &format!("a failure rate of {share} is not above 0 and at most 1"),
        );
        wrong(rules.window.is_zero(), "with a window of 0 it forgets every call at once");
        wrong(rules.calls_min == 0, "with a minimum of 0 calls it would open before any");
        wrong(rules.open_for.is_zero(), "it would stay open for no time at all");
        wrong(rules.probes == 0, "with 0 probes it would never close again");
        problems
    }
}

impl fmt::Debug for CircuitBreakerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerBuilder")
            .field("name", &self.name)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
