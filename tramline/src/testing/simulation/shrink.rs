//! Leaves out what a failure does not need.

use super::found::Violation;
use super::script::Script;

/// How many runs a failure is worth.
const RUNS_MAX: u32 = 400;

/// The shortest script found under which the same invariant does not hold. `fails` runs a script
/// and answers how it fails, if it does.
///
/// Parts are left out by halves, then by quarters, and at last one by one, again and again until
/// none can be spared.
pub(crate) fn shrink(
    script: Script,
    violation: Violation,
    fails: impl Fn(&Script) -> Option<Violation>,
) -> (Script, Violation) {
    let (mut script, mut violation, mut runs) = (script, violation, 0);
    let mut size = script.len().div_ceil(2);
    while size > 0 {
        let mut from = 0;
        let mut is_shorter = false;
        while from < script.len() && runs < RUNS_MAX {
            let shorter = script.without(from, from + size);
            runs += 1;
            match fails(&shorter).filter(|other| other.invariant == violation.invariant) {
                Some(same) => (script, violation, is_shorter) = (shorter, same, true),
                None => from += size,
            }
        }
        if size == 1 && !is_shorter || runs >= RUNS_MAX {
            break;
        }
        size = if size == 1 { 1 } else { size.div_ceil(2).min(size - 1) };
    }
    (script, violation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::faults::{Call, Fault, LifeId, Site};

    fn site(nth: u32) -> Site {
        Site { life: LifeId { process: 1, life: 1 }, call: Call::Settle, nth }
    }

    fn script(faults: impl IntoIterator<Item = u32>) -> Script {
        let faults = faults.into_iter().map(|nth| (site(nth), Fault::Fail)).collect();
        Script { faults, ..Script::default() }
    }

    #[test]
    fn what_a_failure_needs_is_left_and_nothing_else() {
        let needed = [3, 17, 18];
        let fails = |script: &Script| {
            let has = |nth: &u32| script.faults.contains_key(&site(*nth));
            needed.iter().all(has).then(|| Violation::new("it holds", "it does not"))
        };
        let (left, _) = shrink(script(1..=40), Violation::new("it holds", "at first"), fails);
        assert_eq!(left, script(needed));
    }

    #[test]
    fn another_failure_is_not_taken_for_the_same() {
        let fails = |script: &Script| {
            let name = if script.faults.contains_key(&site(1)) { "a" } else { "b" };
            Some(Violation::new(name, ""))
        };
        let (left, violation) = shrink(script(1..=4), Violation::new("a", ""), fails);
        assert_eq!((left, violation.invariant.as_str()), (script([1]), "a"));
    }

    #[test]
    fn a_failure_that_needs_nothing_is_left_with_nothing() {
        let fails = |_: &Script| Some(Violation::new("a", ""));
        assert_eq!(shrink(script(1..=9), Violation::new("a", ""), fails).0, script([]));
    }
}
