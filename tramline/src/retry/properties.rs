//! What holds for every policy, however far its figures are from sense.

use super::Retry;
use proptest::prelude::*;
use std::time::Duration;

/// Pauses that are looked at one by one.
const LOOKED_AT: u32 = 200;

fn durations() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        (0_u64..5_000_000).prop_map(Duration::from_nanos),
        (0_u64..100_000).prop_map(Duration::from_millis),
        any::<u64>().prop_map(Duration::from_nanos),
        any::<u64>().prop_map(Duration::from_secs),
    ]
}

fn runs() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0..LOOKED_AT, 1 => any::<u32>(), 1 => Just(u32::MAX)]
}

fn growing() -> impl Strategy<Value = Retry> {
    let factor = prop_oneof![
        Just(2.0),
        1.0..4.0,
        proptest::sample::select(vec![0.5, -2.0, f64::NAN, f64::INFINITY, 1e300]),
    ];
    prop_oneof![
        durations().prop_map(Retry::fixed),
        (durations(), durations()).prop_map(|(first, step)| Retry::incremental(first, step)),
        (durations(), durations(), factor).prop_map(|(first, max, factor)| Retry::exponential(
            first
        )
        .max(max)
        .factor(factor)),
    ]
}

fn policies() -> impl Strategy<Value = Retry> {
    let list = proptest::collection::vec(durations(), 0..6).prop_map(Retry::list);
    let policy = prop_oneof![4 => growing(), 1 => list];
    (policy, runs(), any::<bool>()).prop_map(|(policy, runs, jitter)| {
        let policy = policy.runs(runs);
        if jitter { policy.jitter() } else { policy }
    })
}

/// Any number, and often one that jitter can draw.
fn fractions() -> impl Strategy<Value = f64> {
    prop_oneof![2 => 0.0..=1.0, 1 => any::<f64>()]
}

proptest! {
    #[test]
    fn a_pause_is_there_for_every_failure_but_the_last_and_within_its_bounds(
        policy in policies(),
        failures in prop_oneof![1..LOOKED_AT, any::<u32>()],
        fraction in fractions(),
    ) {
        let whole = policy.pause(failures, 1.0);
        let pause = policy.pause(failures, fraction);
        prop_assert_eq!(pause.is_some(), whole.is_some());
        prop_assert!(failures < policy.runs || pause.is_none());
        prop_assert!(pause <= whole && whole.unwrap_or_default() <= policy.pause_max());
        if !policy.jitter {
            prop_assert_eq!(pause, whole);
        }
    }

    #[test]
    fn the_longest_pause_and_the_total_are_those_of_the_pauses_one_by_one(policy in policies()) {
        let whole = (1..LOOKED_AT).map_while(|failures| policy.whole_pause(failures));
        let pauses: Vec<Duration> = whole.collect();
        let longest = pauses.iter().max().copied().unwrap_or_default();
        let total = pauses.iter().fold(Duration::ZERO, |sum, pause| sum.saturating_add(*pause));
        let is_all = policy.pause(LOOKED_AT, 1.0).is_none();
        let told = (policy.pause_max(), policy.pauses_total());
        prop_assert!(longest <= told.0 && total <= told.1, "{:?} {:?}", (longest, total), told);
        if is_all {
            prop_assert_eq!((longest, total), told);
        }
    }

    #[test]
    fn pauses_never_get_shorter_unless_a_list_says_so(
        policy in growing(),
        runs in runs(),
        failures in prop_oneof![1..LOOKED_AT, 1..u32::MAX],
    ) {
        let policy = policy.runs(runs);
        if let Some(next) = policy.pause(failures + 1, 1.0) {
            prop_assert!(policy.pause(failures, 1.0) <= Some(next), "{next:?}");
        }
    }

    #[test]
    fn jitter_draws_the_fraction_of_the_whole(
        millis in 0_u64..10_000_000_000,
        fraction in 0.0..=1.0,
    ) {
        let policy = Retry::fixed(Duration::from_millis(millis)).jitter();
        let pause = policy.pause(1, fraction).map(|pause| pause.as_secs_f64() * 1000.0);
        let expected = millis as f64 * fraction;
        prop_assert!((pause.unwrap_or(f64::NAN) - expected).abs() <= 1e-3, "{pause:?}");
    }

    /// In whole nanoseconds, which floats hold exactly for a month or so.
    #[test]
    fn an_exponential_policy_doubles_until_its_longest_pause(
        first in 0_u64..60_000_000_000,
        max in 0_u64..2_000_000_000_000_000,
        failures in 1..LOOKED_AT,
    ) {
        let policy = Retry::exponential(Duration::from_nanos(first));
        let policy = policy.max(Duration::from_nanos(max)).runs(u32::MAX);
        let doubled = u128::from(first).saturating_mul(1 << (failures - 1).min(64));
        let expected = Duration::from_nanos(doubled.min(max.into()) as u64);
        prop_assert_eq!(policy.pause(failures, 1.0), Some(expected));
    }
}
