//! What is done to which process and when: drawn from a seed before a round begins.

use crate::dice::Dice;
use std::ops::Range;
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

/// How often something is done to a process.
#[derive(Clone, Debug)]
pub(crate) struct Habit {
    /// For how many milliseconds nothing is.
    pub(crate) calm_millis: Range<u64>,
    /// How often out of a hundred times it is killed; else it is stopped.
    pub(crate) kills_percent: u64,
    /// How often out of a hundred times it goes on after a stop; else it is killed.
    pub(crate) continues_percent: u64,
}

impl Habit {
    /// Of the processes of a round: something happens to somebody all the time.
    pub(crate) const ROUND: Self =
        Self { calm_millis: 20..700, kills_percent: 65, continues_percent: 75 };
}

/// The steps for one process for each habit in `length`, in their order. Nobody is left stopped or
/// down.
pub(crate) fn draw<'a>(
    seed: u64,
    habits: impl IntoIterator<Item = &'a Habit>,
    length: Duration,
) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    let of_process = |(process, habit)| one(&mut dice, process, habit, length);
    let mut steps: Vec<Step> = habits.into_iter().enumerate().flat_map(of_process).collect();
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

fn one(dice: &mut Dice, process: usize, habit: &Habit, length: Duration) -> Vec<Step> {
    let Habit { calm_millis, kills_percent, continues_percent } = habit;
    let mut steps = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        at += dice.millis(calm_millis.clone());
        if at >= length {
            return steps;
        }
        let mut then = |act, at| steps.push(Step { at, process, act });
        if dice.percent(*kills_percent) {
            then(Act::Kill, at);
            at += dice.millis(0..150);
            then(Act::Start, at);
            continue;
        }
        then(Act::Stop, at);
        // Most are stopped for longer than their lease, some for a moment.
        at += if dice.percent(75) { dice.millis(700..1300) } else { dice.millis(1..300) };
        if dice.percent(*continues_percent) {
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
    const FIVE: [Habit; 5] = [const { Habit::ROUND }; 5];

    #[test]
    fn a_seed_always_draws_the_same_steps_and_another_one_draws_others() {
        assert_eq!(draw(7, &FIVE, LENGTH), draw(7, &FIVE, LENGTH));
        assert_ne!(draw(7, &FIVE, LENGTH), draw(8, &FIVE, LENGTH));
    }

    #[test]
    fn whoever_is_never_to_be_killed_is_only_stopped() {
        let spared = Habit { kills_percent: 0, continues_percent: 100, ..Habit::ROUND };
        let steps = draw(7, &[Habit::ROUND, spared], LENGTH);
        let of_spared: Vec<Act> =
            steps.iter().filter(|step| step.process == 1).map(|step| step.act).collect();
        assert!(of_spared.contains(&Act::Stop), "{steps:?}");
        assert!(!of_spared.contains(&Act::Kill), "{steps:?}");
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
            let steps = draw(seed, &FIVE, LENGTH);
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
