//! What is killed, and when: drawn from a seed, so that a run can be replayed.

use std::ops::Range;
use tramline::core::clock::{Entropy, SeededEntropy};

/// One kill to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kill {
    /// As soon as so many orders are done.
    pub(crate) orders_done: u64,
    pub(crate) victim: Victim,
}

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    /// The worker with this number.
    Worker(usize),
    /// The broker, which is started again at once.
    Broker,
}

/// At least ten, so that every run has many deaths; the seed says how many more.
const WORKERS: Range<u64> = 10..16;
/// How often the broker dies, where it is to.
const BROKERS: u64 = 5;

/// The kills between `done` orders and `total`, in their order. They spare the first and the last
/// tenth of the way, so that each one meets workers at work.
pub(crate) fn plan(seed: u64, done: u64, total: u64, workers: usize, broker: bool) -> Vec<Kill> {
    let entropy = SeededEntropy::new(seed);
    let left = total.saturating_sub(done);
    let points = done + left / 10..done + left - left / 10;
    let worker = |_| Kill {
        orders_done: draw(&entropy, points.clone()),
        victim: Victim::Worker(draw(&entropy, 0..workers as u64) as usize),
    };
    let kills = draw(&entropy, WORKERS);
    let mut plan: Vec<Kill> = (0..kills).map(worker).collect();
    let brokers = if broker { BROKERS } else { 0 };
    plan.extend(
        (0..brokers)
            .map(|_| Kill { orders_done: draw(&entropy, points.clone()), victim: Victim::Broker }),
    );
    plan.sort_by_key(|kill| kill.orders_done);
    plan
}

fn draw(entropy: &SeededEntropy, range: Range<u64>) -> u64 {
    let width = range.end.saturating_sub(range.start);
    range.start + (entropy.fraction() * width as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(plan: &[Kill]) -> Vec<usize> {
        let worker = |kill: &Kill| match kill.victim {
            Victim::Worker(worker) => Some(worker),
            Victim::Broker => None,
        };
        plan.iter().filter_map(worker).collect()
    }

    #[test]
    fn every_seed_gives_ten_kills_or_more_in_their_order_within_the_run() {
        for seed in 0..1000 {
            let plan = plan(seed, 1000, 61_000, 2, false);
            assert!((10..16).contains(&plan.len()), "seed {seed}");
            assert!(plan.is_sorted_by_key(|kill| kill.orders_done));
            assert!(plan.iter().all(|kill| (7000..55_000).contains(&kill.orders_done)));
            assert!(workers(&plan).iter().all(|worker| *worker < 2));
            assert_eq!(workers(&plan).len(), plan.len());
        }
    }

    #[test]
    fn the_broker_dies_beside_the_same_workers_where_it_is_to() {
        for seed in 0..100 {
            let (alone, both) = (plan(seed, 0, 1000, 2, false), plan(seed, 0, 1000, 2, true));
            assert!(both.is_sorted_by_key(|kill| kill.orders_done));
            assert_eq!(workers(&both), workers(&alone));
            assert_eq!(both.len() - alone.len(), 5);
        }
    }

    #[test]
    fn a_seed_replays_its_plan_and_another_one_does_not() {
        let plan = |seed| plan(seed, 0, 69_659, 2, true);
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
        let workers = workers(&plan(7));
        assert!(workers.contains(&0) && workers.contains(&1));
    }

    #[test]
    fn a_short_run_has_its_kills_too() {
        assert!(plan(7, 5, 8, 1, true).iter().all(|kill| (5..=8).contains(&kill.orders_done)));
    }
}
