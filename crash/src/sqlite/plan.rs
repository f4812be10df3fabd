//! What is done to which process and when: drawn from a seed before a round begins.

use super::dice::Dice;
use std::time::Duration;

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Since the beginning of the round.
    pub(crate) at: Duration,
    pub(crate) process: usize,
    pub(crate) act: Act,
}

/// What can be done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// SIGKILL.
    Kill,
    Start,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Continue,
}

/// The steps for `processes` processes in `length`, in their order. Nobody is left stopped or down.
pub(crate) fn draw(seed: u64, processes: usize, length: Duration) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    let mut steps: Vec<Step> =
        (0..processes).flat_map(|process| one(&mut dice, process, length)).collect();
    steps.sort_by_key(|step| step.at);
    steps
}

/// For how long processes are stopped, all together.
pub(crate) fn stopped(steps: &[Step]) -> Duration {
    let until = |stop: &Step| {
        let next = steps.iter().find(|step| step.process == stop.process && step.at > stop.at);
        next.map_or(Duration::ZERO, |next| next.at - stop.at)
    };
    steps.iter().filter(|step| step.act == Act::Stop).map(until).sum()
}

fn one(dice: &mut Dice, process: usize, length: Duration) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        at += dice.millis(20..700);
        if at >= length {
            return steps;
        }
        let mut then = |act, at| steps.push(Step { at, process, act });
        if dice.percent(65) {
            then(Act::Kill, at);
            at += dice.millis(0..150);
            then(Act::Start, at);
            continue;
        }
        then(Act::Stop, at);
        // Most are stopped for longer than their lease, some for a moment.
        at += if dice.percent(75) { dice.millis(700..1300) } else { dice.millis(1..300) };
        if dice.percent(75) {
            then(Act::Continue, at);
        } else {
            then(Act::Kill, at);
            then(Act::Start, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const LENGTH: Duration = Duration::from_secs(3);

    #[test]
    fn a_seed_always_draws_the_same_steps_and_another_one_draws_others() {
        assert_eq!(draw(7, 5, LENGTH), draw(7, 5, LENGTH));
        assert_ne!(draw(7, 5, LENGTH), draw(8, 5, LENGTH));
    }

    #[test]
    fn times_in_which_processes_are_stopped_are_added_up() {
        let step = |at, process, act| Step { at: Duration::from_millis(at), process, act };
        let steps = [
            step(10, 0, Act::Stop),
            step(20, 1, Act::Kill),
            step(30, 1, Act::Start),
            step(40, 1, Act::Stop),
            step(110, 0, Act::Continue),
            step(240, 1, Act::Kill),
        ];
        assert_eq!(stopped(&steps), Duration::from_millis(300));
    }

    #[test]
    fn every_plan_kills_and_stops_and_leaves_everybody_running() {
        for seed in 0..100 {
            let steps = draw(seed, 5, LENGTH);
            assert!(steps.is_sorted_by_key(|step| step.at), "{steps:?}");
            let mut last = BTreeMap::new();
            for step in &steps {
                let before = last.insert(step.process, step.act);
                let fits = match step.act {
                    Act::Kill => before != Some(Act::Kill),
                    Act::Start => before == Some(Act::Kill),
                    Act::Stop => matches!(before, None | Some(Act::Start | Act::Continue)),
                    Act::Continue => before == Some(Act::Stop),
                };
                assert!(fits, "{step:?} after {before:?}");
            }
            assert!(last.values().all(|act| matches!(act, Act::Start | Act::Continue)));
            assert!(steps.iter().any(|step| step.act == Act::Kill));
        }
    }
}
