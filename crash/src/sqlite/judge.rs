//! What must hold of the evidence, whatever was done to the processes.

use super::consumer::{
    AUDIT, ELSEWHERE, ENDPOINTS_OF_PLACED, FORWARDED, LEDGER, NOTES, ORDERED, PLAIN,
};
use super::evidence::{Effect, Evidence};
use super::message::Fate;
use std::collections::{BTreeMap, BTreeSet};

/// The endpoints whose effects happen exactly once.
const ONCE: [&str; 6] = [LEDGER, AUDIT, ORDERED, NOTES, ELSEWHERE, FORWARDED];

/// How often each message was handled and died at one endpoint.
#[derive(Default)]
struct Ends {
    handled: BTreeMap<u64, usize>,
    dead: BTreeMap<u64, Vec<String>>,
}

/// Everything that does not hold, in words; empty if all does.
pub(crate) fn judge(evidence: &Evidence) -> Vec<String> {
    let mut faults = Vec::new();
    let broken = evidence.integrity.iter().filter(|said| *said != "ok");
    faults.extend(broken.map(|said| format!("integrity_check: {said}")));
    faults.extend(evidence.leftovers.iter().map(|left| format!("left behind: {left}")));
    let ends = ends(evidence);
    let of = |endpoint: &str| &ends[endpoint];
    for endpoint in ONCE {
        once(endpoint, of(endpoint), &mut faults);
    }
    for endpoint in ENDPOINTS_OF_PLACED {
        complete(endpoint, of(endpoint), &evidence.confirmed, &mut faults);
    }
    for endpoint in [LEDGER, ORDERED] {
        as_told(endpoint, of(endpoint), &mut faults);
    }
    in_order(evidence, &mut faults);
    // One publish is one transaction, and so are a handler's writes and what it publishes.
    alike((LEDGER, &of(LEDGER).all()), (AUDIT, &of(AUDIT).all()), &mut faults);
    alike((LEDGER, &of(LEDGER).all()), (PLAIN, &of(PLAIN).all()), &mut faults);
    alike((LEDGER, &of(LEDGER).all()), (ORDERED, &of(ORDERED).all()), &mut faults);
    alike((LEDGER, &of(LEDGER).all()), (ELSEWHERE, &of(ELSEWHERE).all()), &mut faults);
    for (endpoint, next) in [(LEDGER, NOTES), (ELSEWHERE, FORWARDED)] {
        let handled: BTreeSet<u64> = of(endpoint).handled.keys().copied().collect();
        alike((endpoint, &handled), (next, &of(next).all()), &mut faults);
    }
    faults
}

fn ends(evidence: &Evidence) -> BTreeMap<&str, Ends> {
    let mut ends: BTreeMap<&str, Ends> =
        ONCE.into_iter().chain([PLAIN]).map(|queue| (queue, Ends::default())).collect();
    for effect in &evidence.effects {
        let ends = ends.entry(&effect.endpoint).or_default();
        *ends.handled.entry(effect.number).or_default() += 1;
    }
    for letter in &evidence.dead {
        let ends = ends.entry(&letter.queue).or_default();
        ends.dead.entry(letter.number).or_default().push(letter.reason.clone());
    }
    ends
}

impl Ends {
    fn all(&self) -> BTreeSet<u64> {
        self.handled.keys().chain(self.dead.keys()).copied().collect()
    }
}

/// No effect twice, and none of what died.
fn once(endpoint: &str, ends: &Ends, faults: &mut Vec<String>) {
    for number in ends.all() {
        let handled = ends.handled.get(&number).copied().unwrap_or(0);
        let dead = ends.dead.get(&number).map_or(&[][..], Vec::as_slice);
        if handled + dead.len() != 1 {
            let died = if dead.is_empty() { "never".into() } else { dead.join(", ") };
            faults.push(format!("{endpoint}: {number} was handled {handled} times, died {died}"));
        }
    }
}

/// Nothing that was confirmed is lost.
fn complete(endpoint: &str, ends: &Ends, confirmed: &BTreeSet<u64>, faults: &mut Vec<String>) {
    for number in confirmed.difference(&ends.all()) {
        faults.push(format!("{endpoint}: {number} was confirmed and is lost"));
    }
}

/// What the handler fails for good is dead, and nothing else is but what killed its processes.
fn as_told(endpoint: &str, ends: &Ends, faults: &mut Vec<String>) {
    for number in ends.all() {
        let told = match Fate::of(number) {
            Fate::Handled | Fate::HandledAfter(_) => None,
            Fate::DeadAtOnce => Some("permanent"),
            Fate::DeadAfterAll => Some("exhausted"),
        };
        let dead = ends.dead.get(&number).and_then(|reasons| reasons.first()).map(String::as_str);
        if dead != told && dead != Some("poison") {
            faults.push(format!("{endpoint}: {number} should have died {told:?}, died {dead:?}"));
        }
    }
}

/// The messages of one key were handled in the order in which they were sent: a later one has a
/// larger number.
fn in_order(evidence: &Evidence, faults: &mut Vec<String>) {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for effect in evidence.effects.iter().filter(|effect| effect.endpoint == ORDERED) {
        let before = last.insert(&effect.key, effect.number);
        if let Some(before) = before.filter(|before| *before > effect.number) {
            let Effect { number, key, .. } = effect;
            faults.push(format!("{ORDERED}: {number} of key {key} was handled after {before}"));
        }
    }
}

fn alike(
    (one, ones): (&str, &BTreeSet<u64>),
    (other, others): (&str, &BTreeSet<u64>),
    faults: &mut Vec<String>,
) {
    for number in ones.symmetric_difference(others) {
        let only = if ones.contains(number) { one } else { other };
        faults.push(format!("{number} reached {only} and not both of {one} and {other}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::evidence::DeadLetter;

    /// The numbers of a message that is handled and of one that dies.
    fn numbers() -> (u64, u64) {
        let first = |fate| (0..).find(|number| Fate::of(*number) == fate).unwrap();
        (first(Fate::Handled), first(Fate::DeadAtOnce))
    }

    fn effect(endpoint: &str, number: u64) -> Effect {
        Effect { endpoint: endpoint.to_owned(), number, key: "k".to_owned() }
    }

    fn sound() -> Evidence {
        let (good, bad) = numbers();
        let mut effects: Vec<Effect> =
            ONCE.into_iter().chain([PLAIN]).map(|queue| effect(queue, good)).collect();
        let that_never_fail = [AUDIT, PLAIN, ELSEWHERE, FORWARDED];
        effects.extend(that_never_fail.map(|endpoint| effect(endpoint, bad)));
        let died = |queue: &str| DeadLetter {
            queue: queue.to_owned(),
            number: bad,
            reason: "permanent".to_owned(),
        };
        let dead = [LEDGER, ORDERED].map(died).into();
        let confirmed = BTreeSet::from([good, bad]);
        Evidence {
            confirmed,
            effects,
            dead,
            integrity: vec!["ok".to_owned()],
            leftovers: Vec::new(),
        }
    }

    fn faults(change: impl FnOnce(&mut Evidence)) -> String {
        let mut evidence = sound();
        change(&mut evidence);
        judge(&evidence).join("\n")
    }

    #[test]
    fn a_sound_round_has_no_fault_and_may_have_what_nobody_confirmed() {
        assert_eq!(judge(&sound()), [""; 0]);
        assert_eq!(faults(|evidence| evidence.confirmed.clear()), "");
        let plain_twice = faults(|evidence| evidence.effects.push(effect(PLAIN, numbers().0)));
        assert_eq!(plain_twice, "");
    }

    #[test]
    fn an_effect_that_happened_twice_is_told() {
        for endpoint in ONCE {
            let text = faults(|evidence| evidence.effects.push(effect(endpoint, numbers().0)));
            assert!(text.contains(&format!("{endpoint}: {} was handled 2 times", numbers().0)));
        }
    }

    #[test]
    fn a_confirmed_message_that_is_nowhere_is_told_for_each_endpoint() {
        let text = faults(|evidence| {
            evidence.confirmed.insert(u64::MAX);
        });
        for endpoint in ENDPOINTS_OF_PLACED {
            assert!(text.contains(&format!("{endpoint}: {} was confirmed and is lost", u64::MAX)));
        }
    }

    #[test]
    fn a_message_that_was_handled_and_died_is_told() {
        let text = faults(|evidence| evidence.effects.push(effect(LEDGER, numbers().1)));
        assert!(text.contains("was handled 1 times, died permanent"), "{text}");
    }

    #[test]
    fn a_message_that_reached_one_queue_of_two_is_told() {
        let text = faults(|evidence| {
            evidence.confirmed.clear();
            evidence.effects.retain(|effect| effect.endpoint != AUDIT);
        });
        assert!(text.contains("reached ledger and not both of ledger and audit"), "{text}");
    }

    #[test]
    fn an_event_that_a_handler_published_and_that_is_lost_is_told() {
        for (endpoint, next) in [(LEDGER, NOTES), (ELSEWHERE, FORWARDED)] {
            let text = faults(|evidence| evidence.effects.retain(|effect| effect.endpoint != next));
            let told = format!("reached {endpoint} and not both of {endpoint} and {next}");
            assert!(text.contains(&told), "{text}");
        }
    }

    #[test]
    fn a_message_that_died_of_another_cause_than_its_handler_is_told_unless_it_was_poison() {
        let because = |reason: &str| faults(|evidence| evidence.dead[0].reason = reason.to_owned());
        assert!(because("unhandled").contains("should have died"), "{}", because("unhandled"));
        assert_eq!(because("poison"), "");
    }

    #[test]
    fn a_message_that_was_handled_before_an_earlier_one_of_its_key_is_told() {
        let handled = |number, key: &str| Effect {
            endpoint: ORDERED.to_owned(),
            number,
            key: key.to_owned(),
        };
        let in_order = |effects: &[Effect]| {
            let mut faults = Vec::new();
            in_order(&Evidence { effects: effects.into(), ..Evidence::default() }, &mut faults);
            faults.join("\n")
        };
        assert_eq!(in_order(&[handled(2, "a"), handled(1, "b"), handled(3, "a")]), "");
        let text = in_order(&[handled(2, "a"), handled(1, "b"), handled(1, "a")]);
        assert_eq!(text, "ordered: 1 of key a was handled after 2");
    }

    #[test]
    fn a_broken_file_and_what_is_left_in_it_are_told() {
        let text = faults(|evidence| {
            evidence.integrity.push("row 7 missing from index".to_owned());
            evidence.leftovers.push("3 bodies".to_owned());
        });
        assert!(text.contains("row 7 missing") && text.contains("left behind: 3 bodies"), "{text}");
    }
}
