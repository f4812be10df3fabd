//! What must hold of named schedules: each has fired once or was cancelled or replaced, and handlers have planned
//! exactly what they have committed.

use super::evidence::Named;
use super::message::{Step, number, story_of, was_asked_for};

/// What does not hold.
pub(super) fn faults(named: &Named) -> Vec<String> {
    let times = |number: &u64| named.fired.get(number).copied().unwrap_or(0);
    let mut faults = Vec::new();
    let twice = named.fired.iter().filter(|(_, times)| **times > 1);
    faults.extend(twice.map(|(number, times)| format!("{number} has fired {times} times")));
    let lost = must(named).filter(|number| times(number) == 0);
    faults.extend(lost.map(|number| format!("{number} has not fired")));
    for (numbers, what) in [
        (&named.cancelled, "was cancelled"),
        (&named.replaced_in_time, "was replaced before its time"),
        (&named.never, "was never to fire"),
    ] {
        let fired = numbers.iter().filter(|number| times(number) > 0);
        faults.extend(fired.map(|number| format!("{number} {what} and has fired")));
    }
    // Whose replacement nobody heard the end of.
    for first in named.replacing.iter().filter(|first| named.scheduled.contains(first)) {
        let second = number(story_of(*first), Step::Second);
        if times(first) + times(&second) == 0 {
            faults.push(format!("neither {first} has fired nor what was to replace it"));
        }
    }
    let of_nobody = named.fired.keys().filter(|n| was_asked_for(**n) && !named.must.contains(n));
    faults.extend(of_nobody.map(|n| format!("{n} has fired, and no handler has committed it")));
    faults.extend(handlers(named));
    faults.extend(named.overdue.iter().map(|name| format!("{name} is due and waits")));
    faults
}

/// What must have fired.
fn must(named: &Named) -> impl Iterator<Item = &u64> {
    let is_open =
        |number: &&u64| named.cancelling.contains(number) || named.replacing.contains(number);
    let kept = named.scheduled.iter().filter(move |number| !is_open(number));
    kept.chain(&named.late).chain(&named.must)
}

fn handlers(named: &Named) -> Vec<String> {
    let mut faults = Vec::new();
    let twice = named.done.iter().filter(|(_, times)| **times > 1);
    faults.extend(twice.map(|(story, times)| format!("story {story} was planned {times} times")));
    let lost = named.asked.iter().filter(|story| !named.done.contains_key(story));
    faults.extend(lost.map(|story| format!("story {story} was accepted and is lost")));
    // A handler has cancelled those that do not fire for an hour.
    let kept = named.waiting.iter().filter(|story| named.done.contains_key(story));
    faults.extend(kept.map(|story| format!("story {story} waits, although it was cancelled")));
    if named.dead < named.dying as u64 {
        faults.push(format!("of {} dead letters {} are there", named.dying, named.dead));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const FIRST: u64 = 40;
    const SECOND: u64 = 41;
    const ASKED: u64 = 42;

    fn set(numbers: &[u64]) -> BTreeSet<u64> {
        numbers.iter().copied().collect()
    }

    fn fired(numbers: &[(u64, usize)]) -> Named {
        Named { fired: numbers.iter().copied().collect(), ..Named::default() }
    }

    #[track_caller]
    fn is(named: &Named, expected: &[&str]) {
        assert_eq!(faults(named), expected);
    }

    #[test]
    fn what_was_scheduled_has_fired_once() {
        let scheduled = set(&[FIRST]);
        is(&Named { scheduled: scheduled.clone(), ..fired(&[(FIRST, 1)]) }, &[]);
        is(&Named { scheduled: scheduled.clone(), ..fired(&[]) }, &["40 has not fired"]);
        is(&Named { scheduled, ..fired(&[(FIRST, 2)]) }, &["40 has fired 2 times"]);
    }

    #[test]
    fn what_was_cancelled_has_not_fired_and_what_was_cancelled_too_late_has() {
        let base = Named { scheduled: set(&[FIRST]), cancelling: set(&[FIRST]), ..fired(&[]) };
        is(&base, &[]);
        is(&Named { fired: fired(&[(FIRST, 1)]).fired, ..base.clone() }, &[]);
        is(&Named { late: set(&[FIRST]), ..base.clone() }, &["40 has not fired"]);
        let cancelled = Named { cancelled: set(&[FIRST]), ..base };
        is(&cancelled, &[]);
        let both = Named { fired: fired(&[(FIRST, 1)]).fired, ..cancelled };
        is(&both, &["40 was cancelled and has fired"]);
    }

    #[test]
    fn of_two_under_one_name_the_later_one_fires() {
        let base = Named { scheduled: set(&[FIRST]), replacing: set(&[FIRST]), ..fired(&[]) };
        is(&base, &["neither 40 has fired nor what was to replace it"]);
        is(&Named { fired: fired(&[(SECOND, 1)]).fired, ..base.clone() }, &[]);
        let scheduled = set(&[FIRST, SECOND]);
        let replaced = Named { scheduled, fired: fired(&[(FIRST, 1)]).fired, ..base };
        is(&replaced, &["41 has not fired"]);
        let in_time = Named { replaced_in_time: set(&[FIRST]), ..replaced };
        let both = Named { fired: fired(&[(FIRST, 1), (SECOND, 1)]).fired, ..in_time };
        is(&both, &["40 was replaced before its time and has fired"]);
    }

    #[test]
    fn what_a_handler_plans_happens_exactly_when_it_has_committed() {
        let done = [(10, 1)].into();
        let base = Named { asked: set(&[10]), done, must: set(&[ASKED]), ..fired(&[(ASKED, 1)]) };
        is(&base, &[]);
        is(&Named { fired: [].into(), ..base.clone() }, &["42 has not fired"]);
        let undone = Named { done: [].into(), must: set(&[]), ..base.clone() };
        let told =
            ["42 has fired, and no handler has committed it", "story 10 was accepted and is lost"];
        is(&undone, &told);
        let twice = Named { done: [(10, 2)].into(), ..base.clone() };
        is(&twice, &["story 10 was planned 2 times"]);
        let waits = Named { waiting: set(&[10]), ..base.clone() };
        is(&waits, &["story 10 waits, although it was cancelled"]);
        is(&Named { dying: 1, ..base }, &["of 1 dead letters 0 are there"]);
    }

    #[test]
    fn nothing_that_is_due_waits() {
        let named = Named { overdue: vec!["story:1".to_owned()], ..Named::default() };
        is(&named, &["story:1 is due and waits"]);
    }
}
