//! When a breaker opens and closes: decided from what it is told, at times that it is told.

use super::window::{Count, Window};
use std::time::Duration;
use tramline_core::clock::Timestamp;

/// Whether a breaker lets calls through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// All of them.
    Closed,
    /// None.
    Open {
        /// Then it tries whether the dependency is back.
        until: Timestamp,
    },
    /// A few, to try whether the dependency is back.
    HalfOpen,
}

/// How a call ended, as far as the dependency is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallEnd {
    Succeeded,
    Failed,
    /// It says nothing about the dependency.
    Unclear,
}

/// What is known when a call has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Others have succeeded since the breaker tries: the dependency is back, and a probe that failed did so for
    /// its own sake.
    pub(crate) others_succeeded: bool,
    /// How often the breaker has closed again: by this one outage is told from another.
    pub(crate) outage: u64,
}

/// When to open, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) failure_rate: f64,
    pub(super) window: Duration,
    pub(super) calls_min: u32,
    pub(super) open_for: Duration,
    pub(super) probes: u32,
}

/// A call that was let through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) is_probe: bool,
    /// The turn of the breaker in which it began: the end of a call from an earlier one says nothing new.
    turn: u64,
}

/// A breaker without a clock.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    rules: Rules,
    phase: Phase,
    turn: u64,
    outage: u64,
}

#[derive(Clone, Debug)]
enum Phase {
    Closed(Window),
    Open { until: Timestamp },
    HalfOpen { running: u32, succeeded: u32, has_failed: bool },
}

impl Machine {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, phase: Phase::Closed(Window::of(rules.window)), turn: 0, outage: 0 }
    }

    pub(super) fn state(&mut self, now: Timestamp) -> BreakerState {
        self.pass_to(now);
        match self.phase {
            Phase::Closed(_) => BreakerState::Closed,
            Phase::Open { until } => BreakerState::Open { until },
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Whether a call that begins now is let through.
    pub(super) fn has_room(&mut self, now: Timestamp) -> bool {
        self.pass_to(now);
        match self.phase {
            Phase::Closed(_) => true,
            Phase::Open { .. } => false,
            Phase::HalfOpen { running, .. } => running < self.rules.probes,
        }
    }

    /// Begins a call, if it is let through.
    pub(super) fn begin(&mut self, now: Timestamp) -> Option<Call> {
        if !self.has_room(now) {
            return None;
        }
        let is_probe = match &mut self.phase {
            Phase::HalfOpen { running, .. } => {
                *running += 1;
                true
            }
            _ => false,
        };
        Some(Call { is_probe, turn: self.turn })
    }

    /// Whether the breaker is as it was when `call` began.
    pub(super) fn is_current(&mut self, call: Call, now: Timestamp) -> bool {
        self.pass_to(now);
        call.turn == self.turn
    }

    /// A call that began has ended.
    pub(super) fn end(&mut self, call: Call, end: CallEnd, now: Timestamp) -> Ended {
        self.pass_to(now);
        let others_succeeded = match self.phase {
            Phase::Closed(_) => true,
            Phase::Open { .. } => false,
            Phase::HalfOpen { succeeded, .. } => succeeded > 0 && call.turn == self.turn,
        };
        let ended = Ended { others_succeeded, outage: self.outage };
        if call.turn != self.turn {
            return ended;
        }
        match (&mut self.phase, end) {
            (Phase::Closed(_) | Phase::Open { .. }, CallEnd::Unclear) | (Phase::Open { .. }, _) => {
            }
            (Phase::Closed(window), end) => {
                window.add(end == CallEnd::Failed, now);
                if self.rules.are_broken_by(window.count(now)) {
                    self.open(now);
                }
            }
            // One that fails among others that succeed is a bad message.
            (Phase::HalfOpen { running, succeeded: 1.., has_failed }, CallEnd::Failed)
                if !*has_failed =>
            {
                *running -= 1;
                *has_failed = true;
            }
            (Phase::HalfOpen { .. }, CallEnd::Failed) => self.open(now),
            (Phase::HalfOpen { running, succeeded, .. }, end) => {
                *running -= 1;
                *succeeded += u32::from(end == CallEnd::Succeeded);
                if *succeeded >= self.rules.probes {
                    self.outage += 1;
                    self.go_to(Phase::Closed(Window::of(self.rules.window)));
                }
            }
        }
        ended
    }

    /// The window of a closed breaker; an empty one else.
    pub(super) fn count(&mut self, now: Timestamp) -> Count {
        match &mut self.phase {
            Phase::Closed(window) => window.count(now),
            _ => Count::default(),
        }
    }

    fn pass_to(&mut self, now: Timestamp) {
        let Phase::Open { until } = &mut self.phase else { return };
        // A clock that was set back must not keep it open for longer.
        *until = (*until).min(now.after(self.rules.open_for));
        if *until <= now {
            self.go_to(Phase::HalfOpen { running: 0, succeeded: 0, has_failed: false });
        }
    }

    fn open(&mut self, now: Timestamp) {
        self.go_to(Phase::Open { until: now.after(self.rules.open_for) });
    }

    fn go_to(&mut self, phase: Phase) {
        self.phase = phase;
        self.turn += 1;
    }
}

impl Rules {
    fn are_broken_by(&self, Count { calls, failed }: Count) -> bool {
        calls >= u64::from(self.calls_min) && failed as f64 >= self.failure_rate * calls as f64
    }
}
