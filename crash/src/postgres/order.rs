//! Whether what belongs together happened in its order.

use std::collections::{BTreeMap, BTreeSet};

/// That something was handled, or arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Effect {
    /// Grows within each key, in the order in which it was confirmed or committed.
    pub(crate) number: u64,
    pub(crate) key: String,
}

/// What has overtaken another of its key, in words. Only the first time counts: what comes twice may
/// come late.
pub(crate) fn out_of_order(effects: &[Effect]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let mut faults = Vec::new();
    for Effect { number, key } in effects {
        if !seen.insert(*number) {
            continue;
        }
        match last.get_mut(&**key) {
            Some(last) if *last > *number => {
                faults.push(format!("of key {key}, {number} came behind {last}"));
            }
            Some(last) => *last = *number,
            None => {
                last.insert(key, *number);
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effects(numbers: &[(u64, &str)]) -> Vec<Effect> {
        let effect =
            |(number, key): &(u64, &str)| Effect { number: *number, key: (*key).to_owned() };
        numbers.iter().map(effect).collect()
    }

    #[test]
    fn keys_go_on_beside_each_other_and_what_comes_twice_may_come_late() {
        let sound = effects(&[(1, "a"), (5, "b"), (2, "a"), (1, "a"), (4, "a"), (6, "b")]);
        assert_eq!(out_of_order(&sound), [""; 0]);
    }

    #[test]
    fn what_has_overtaken_another_of_its_key_is_told() {
        let faults = out_of_order(&effects(&[(1, "a"), (3, "a"), (4, "b"), (2, "a"), (4, "a")]));
        assert_eq!(faults, ["of key a, 2 came behind 3"]);
    }
}
