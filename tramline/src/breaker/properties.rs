//! The machine beside a model that keeps every call and looks through all of them each time.

use super::machine::{BreakerState, Call, CallEnd, Machine, Rules};
use proptest::prelude::*;
use std::time::Duration;
use tramline_core::clock::Timestamp;

/// What the model knows.
struct Model {
    rules: Rules,
    state: BreakerState,
    /// When calls of this turn ended, and whether they failed.
    ended: Vec<(Timestamp, bool)>,
    turn: usize,
    probes_running: u32,
    probes_succeeded: u32,
    probes_failed: u32,
}

/// Calls that the model has let through: in which turn, and whether as a probe.
type Permitted = (usize, bool);

impl Model {
    fn of(rules: Rules) -> Self {
        let state = BreakerState::Closed;
        let (probes_running, probes_succeeded, probes_failed) = (0, 0, 0);
        let ended = Vec::new();
        Self { rules, state, ended, turn: 0, probes_running, probes_succeeded, probes_failed }
    }

    fn turn_to(&mut self, state: BreakerState) {
        self.state = state;
        self.turn += 1;
        self.ended.clear();
        (self.probes_running, self.probes_succeeded, self.probes_failed) = (0, 0, 0);
    }

    fn look(&mut self, now: Timestamp) {
        if matches!(self.state, BreakerState::Open { until } if until <= now) {
            self.turn_to(BreakerState::HalfOpen);
        }
    }

    fn begin(&mut self, now: Timestamp) -> Option<Permitted> {
        self.look(now);
        match self.state {
            BreakerState::Closed => Some((self.turn, false)),
            BreakerState::Open { .. } => None,
            BreakerState::HalfOpen => {
                let has_room = self.probes_running < self.rules.probes;
                self.probes_running += u32::from(has_room);
                has_room.then_some((self.turn, true))
            }
        }
    }

    fn end(&mut self, (turn, _): Permitted, end: CallEnd, now: Timestamp) {
        self.look(now);
        if turn != self.turn {
            return;
        }
        let failed = end == CallEnd::Failed;
        match self.state {
            BreakerState::Open { .. } => {}
            BreakerState::Closed => {
                if end != CallEnd::Unclear {
                    self.ended.push((now, failed));
                }
                let (calls, failed) = self.in_window(now);
                let is_bad = failed as f64 / calls as f64 >= self.rules.failure_rate;
                if end != CallEnd::Unclear && calls >= self.rules.calls_min as usize && is_bad {
                    self.turn_to(BreakerState::Open { until: now.after(self.rules.open_for) });
                }
            }
            BreakerState::HalfOpen if failed => {
                self.probes_failed += 1;
                self.probes_running -= 1;
                if self.probes_succeeded == 0 || self.probes_failed > 1 {
                    self.turn_to(BreakerState::Open { until: now.after(self.rules.open_for) });
                }
            }
            BreakerState::HalfOpen => {
                self.probes_running -= 1;
                self.probes_succeeded += u32::from(end == CallEnd::Succeeded);
                if self.probes_succeeded == self.rules.probes {
                    self.turn_to(BreakerState::Closed);
                }
            }
        }
    }

    /// Those in the part of the window that `now` is in, and in the nine before.
    fn in_window(&self, now: Timestamp) -> (usize, usize) {
        let part = |at: Timestamp| at.as_millis() / (self.rules.window.as_millis() as i64 / 10);
        let inside = |at: &Timestamp| part(now) - part(*at) < 10;
        let calls = self.ended.iter().filter(|(at, _)| inside(at));
        (calls.clone().count(), calls.filter(|(_, failed)| *failed).count())
    }
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Wait(u64),
    Begin,
    /// Which of those at work, and how.
    End(usize, CallEnd),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let end = prop_oneof![
        4 => Just(CallEnd::Failed),
        4 => Just(CallEnd::Succeeded),
        1 => Just(CallEnd::Unclear),
    ];
    let deed = prop_oneof![
        2 => (0_u64..400).prop_map(Deed::Wait),
        5 => Just(Deed::Begin),
        5 => (any::<usize>(), end).prop_map(|(which, end)| Deed::End(which, end)),
    ];
    proptest::collection::vec(deed, 0..300)
}

fn rules() -> impl Strategy<Value = Rules> {
    let rate = prop_oneof![Just(1.0), Just(0.5), 0.01..1.0];
    (rate, 1_u64..50, 1_u32..8, 1_u64..500, 1_u32..4).prop_map(
        |(failure_rate, tenth, calls_min, open_millis, probes)| Rules {
            failure_rate,
            window: Duration::from_millis(10 * tenth),
            calls_min,
            open_for: Duration::from_millis(open_millis),
            probes,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_breaker_does_what_a_naive_one_does(rules in rules(), deeds in deeds()) {
        let (mut machine, mut model) = (Machine::new(rules), Model::of(rules));
        let mut now = Timestamp::from_millis(1_000_000);
        let mut at_work: Vec<(Call, Permitted)> = Vec::new();
        for deed in deeds {
            match deed {
                Deed::Wait(millis) => now = now.after(Duration::from_millis(millis)),
                Deed::Begin => {
                    let begun = (machine.begin(now), model.begin(now));
                    prop_assert_eq!(begun.0.is_some(), begun.1.is_some());
                    if let (Some(call), Some(permitted)) = begun {
                        prop_assert_eq!(call.is_probe, permitted.1);
                        at_work.push((call, permitted));
                    }
                }
                Deed::End(which, end) if !at_work.is_empty() => {
                    let (call, permitted) = at_work.swap_remove(which % at_work.len());
                    machine.end(call, end, now);
                    model.end(permitted, end, now);
                }
                Deed::End(..) => {}
            }
            model.look(now);
            prop_assert_eq!(machine.state(now), model.state);
            if model.state == BreakerState::Closed {
                let (calls, failed) = model.in_window(now);
                let count = machine.count(now);
                prop_assert_eq!((count.calls as usize, count.failed as usize), (calls, failed));
            }
        }
    }
}

#[test]
fn a_clock_that_is_set_back_keeps_nothing_open_for_longer_and_no_failure_in_the_window() {
    let second = Duration::from_secs(1);
    let rules =
        Rules { failure_rate: 1.0, window: 10 * second, calls_min: 2, open_for: second, probes: 1 };
    let (late, early) = (Timestamp::from_millis(9_000_000), Timestamp::from_millis(1_000_000));
    let mut machine = Machine::new(rules);
    let fail = |machine: &mut Machine, now| {
        let call = machine.begin(now).unwrap();
        machine.end(call, CallEnd::Failed, now);
    };
    fail(&mut machine, late);
    fail(&mut machine, early);
    assert_eq!(machine.state(early), BreakerState::Closed, "one of them is of another age");
    fail(&mut machine, early);
    assert_eq!(machine.state(early), BreakerState::Open { until: early.after(second) });
    let earlier = early.before(100 * second);
    assert_eq!(machine.state(earlier), BreakerState::Open { until: earlier.after(second) });
    assert_eq!(machine.state(earlier.after(second)), BreakerState::HalfOpen);
}
