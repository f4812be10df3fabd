//! What must hold of the evidence, whatever was done to broker, network and processes.

use super::message::{DIES, KILLS};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Everything that a scenario is judged by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    /// The endpoints whose effects happen exactly once.
    pub(crate) once: Vec<&'static str>,
    /// What producers know to be accepted.
    pub(crate) confirmed: BTreeSet<u64>,
    /// How often each endpoint has handled each message.
    pub(crate) handled: BTreeMap<&'static str, BTreeMap<u64, usize>>,
    /// What is in the dead-letter queues.
    pub(crate) dead: Vec<DeadLetter>,
    /// What was in a queue that was deleted, and so is lost with it.
    pub(crate) deleted: BTreeSet<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeadLetter {
    pub(crate) queue: String,
    pub(crate) number: u64,
    /// How often its handler was to fail.
    pub(crate) fails: u32,
    pub(crate) reason: String,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// What was confirmed and is nowhere, in words.
    pub(crate) lost: Vec<String>,
    /// Everything else that does not hold.
    pub(crate) faults: Vec<String>,
    pub(crate) confirmed: usize,
    /// How many effects there are beyond one for each message and endpoint that promises at least
    /// one.
    pub(crate) duplicates: usize,
    pub(crate) dead: usize,
    /// How many were lost with a queue that was deleted.
    pub(crate) deleted: usize,
}

/// Judges the evidence.
pub(crate) fn judge(evidence: &Evidence) -> Verdict {
    let Evidence { once, confirmed, handled, dead, deleted } = evidence;
    let mut verdict = Verdict { confirmed: confirmed.len(), ..Verdict::default() };
    if confirmed.is_empty() {
        verdict.faults.push("nothing was confirmed: this shows nothing".to_owned());
    }
    for (endpoint, times) in handled {
        let died: BTreeSet<u64> =
            dead.iter().filter(|letter| letter.queue == *endpoint).map(|l| l.number).collect();
        let is_there = |number: &u64| times.contains_key(number) || died.contains(number);
        for number in confirmed.iter().filter(|number| !is_there(number)) {
            if deleted.contains(number) {
                verdict.deleted += 1;
            } else {
                verdict.lost.push(format!("{endpoint}: {number} was confirmed and is lost"));
            }
        }
        for (number, times) in times {
            match (times, died.contains(number)) {
                (1, false) => {}
                (times, is_dead) if once.contains(endpoint) => {
                    let died = if is_dead { ", and died" } else { "" };
                    verdict
                        .faults
                        .push(format!("{endpoint}: {number} was handled {times} times{died}"));
                }
                (times, is_dead) => verdict.duplicates += times - 1 + usize::from(is_dead),
            }
        }
    }
    dead_as_told(dead, &mut verdict);
    verdict
}

/// Only what its handler fails for good is dead, and what kills, and each is dead of that.
fn dead_as_told(dead: &[DeadLetter], verdict: &mut Verdict) {
    let mut seen = BTreeSet::new();
    for DeadLetter { queue, number, fails, reason } in dead {
        if !matches!((*fails, reason.as_str()), (DIES, "permanent") | (KILLS, "poison")) {
            verdict
                .faults
                .push(format!("{queue}: {number}, told to fail {fails} times, died {reason}"));
        }
        if seen.insert((queue, number)) {
            verdict.dead += 1;
        } else {
            verdict.duplicates += 1;
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { confirmed, duplicates, dead, deleted, .. } = self;
        write!(f, "{confirmed} confirmed, 0 lost, {duplicates} duplicates, {dead} dead")?;
        if *deleted > 0 {
            write!(f, ", {deleted} gone with their queue")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At least once, and exactly once.
    const QUORUM: &str = "quorum";
    const BOOKED: &str = "booked";

    fn evidence(confirmed: &[u64], handled: &[(&'static str, u64, usize)]) -> Evidence {
        let confirmed = confirmed.iter().copied().collect();
        let mut evidence = Evidence { once: vec![BOOKED], confirmed, ..Evidence::default() };
        for (endpoint, number, times) in handled {
            evidence.handled.entry(endpoint).or_default().insert(*number, *times);
        }
        evidence
    }

    fn letter(number: u64, fails: u32, reason: &str) -> DeadLetter {
        DeadLetter { queue: QUORUM.to_owned(), number, fails, reason: reason.to_owned() }
    }

    #[test]
    fn what_was_handled_or_died_as_told_is_sound_and_so_is_what_nobody_confirmed() {
        let mut sound = evidence(&[1, 2], &[(QUORUM, 1, 1), (BOOKED, 1, 1), (BOOKED, 2, 1)]);
        sound.handled.entry(QUORUM).or_default().insert(9, 1);
        sound.dead = vec![letter(2, DIES, "permanent")];
        let verdict = judge(&sound);
        assert_eq!((verdict.duplicates, verdict.dead), (0, 1));
        assert_eq!((verdict.lost, verdict.faults), (Vec::new(), Vec::new()));
    }

    #[test]
    fn what_was_confirmed_and_is_nowhere_is_told_unless_its_queue_was_deleted() {
        let mut lost = evidence(&[1, 2], &[(QUORUM, 1, 1), (BOOKED, 1, 1), (BOOKED, 2, 1)]);
        assert_eq!(judge(&lost).lost, ["quorum: 2 was confirmed and is lost"]);
        lost.deleted.insert(2);
        let verdict = judge(&lost);
        assert_eq!((verdict.lost, verdict.deleted), (Vec::new(), 1));
    }

    #[test]
    fn a_second_effect_is_a_duplicate_and_where_there_is_an_inbox_a_fault() {
        let verdict = judge(&evidence(&[1], &[(QUORUM, 1, 3)]));
        assert_eq!((verdict.faults, verdict.duplicates), (Vec::new(), 2));
        let verdict = judge(&evidence(&[1], &[(BOOKED, 1, 2)]));
        assert_eq!(verdict.faults, ["booked: 1 was handled 2 times"]);
    }

    #[test]
    fn a_dead_letter_that_should_have_been_handled_is_told() {
        let mut dead = evidence(&[1], &[]);
        dead.dead = vec![letter(1, 1, "exhausted"), letter(2, DIES, "poison")];
        let faults = judge(&dead).faults;
        assert_eq!(
            faults,
            [
                "quorum: 1, told to fail 1 times, died exhausted",
                "quorum: 2, told to fail 4294967295 times, died poison",
            ]
        );
    }

    #[test]
    fn a_dead_letter_that_is_there_twice_is_a_duplicate() {
        let mut dead = evidence(&[1], &[]);
        dead.dead = vec![letter(1, DIES, "permanent"), letter(1, DIES, "permanent")];
        let verdict = judge(&dead);
        assert_eq!((verdict.faults, verdict.duplicates, verdict.dead), (Vec::new(), 1, 1));
    }

    #[test]
    fn where_nothing_was_confirmed_nothing_is_shown() {
        assert_eq!(judge(&Evidence::default()).faults.len(), 1);
    }
}
