//! How a breaker does.

use super::machine::BreakerState;
use metrics::{Counter, Gauge};

/// How a breaker does at a moment, for health pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerFigures {
    /// Whether it lets calls through.
    pub state: BreakerState,
    /// How many calls in its window count; none while it is not closed.
    pub calls: u64,
    /// How many of them have failed.
    pub failed: u64,
    /// How often it has opened since it was built.
    pub opened: u64,
}

impl BreakerFigures {
    /// The share of failures in its window, from 0 to 1; 0 if there were no calls.
    pub fn failure_rate(&self) -> f64 {
        if self.calls == 0 { 0.0 } else { self.failed as f64 / self.calls as f64 }
    }
}

/// What is told to the `metrics` facade: `tramline_breaker_state{breaker}` (0 closed, 1 half-open, 2 open) and
/// `tramline_breaker_opened_total{breaker}`.
pub(super) struct Told {
    state: Gauge,
    opened: Counter,
}

impl Told {
    pub(super) fn of(breaker: &str) -> Self {
        let breaker = breaker.to_owned();
        let told = Self {
            state: metrics::gauge!("tramline_breaker_state", "breaker" => breaker.clone()),
            opened: metrics::counter!("tramline_breaker_opened_total", "breaker" => breaker),
        };
        told.turned(BreakerState::Closed);
        told
    }

    pub(super) fn turned(&self, state: BreakerState) {
        self.state.set(match state {
            BreakerState::Closed => 0.0,
            BreakerState::HalfOpen => 1.0,
            BreakerState::Open { .. } => 2.0,
        });
        if matches!(state, BreakerState::Open { .. }) {
            self.opened.increment(1);
        }
    }
}
