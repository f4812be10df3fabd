//! Values by the order in which they came, most of which go in about the same order.

use std::collections::{BTreeMap, VecDeque};

/// How many places are kept between the first and the last of those that have not been for long.
const RECENT_MAX: usize = 8192;

/// A map from consecutive numbers.
#[derive(Debug)]
pub(super) struct Numbered<T> {
    /// Those that stay while thousands come and go.
    early: BTreeMap<u64, T>,
    /// The number of the first place in `recent`.
    first: u64,
    recent: VecDeque<Option<T>>,
}

impl<T> Numbered<T> {
    /// An empty one that gives `first` as its first number.
    pub(super) fn from(first: u64) -> Self {
        Self { early: BTreeMap::new(), first, recent: VecDeque::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        // The first place is taken, if there is one.
        self.early.is_empty() && self.recent.is_empty()
    }

    /// Adds `value`. Its number, which is the next.
    pub(super) fn push(&mut self, value: T) -> u64 {
        if self.recent.len() == RECENT_MAX
            && let Some(Some(early)) = self.recent.pop_front()
        {
            self.early.insert(self.first, early);
            self.first += 1;
            self.close_up();
        }
        self.recent.push_back(Some(value));
        self.first + self.recent.len() as u64 - 1
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        match number.checked_sub(self.first) {
            Some(place) => self.recent.get_mut(usize::try_from(place).ok()?)?.as_mut(),
            None => self.early.get_mut(&number),
        }
    }

    pub(super) fn get(&self, number: u64) -> Option<&T> {
        match number.checked_sub(self.first) {
            Some(place) => self.recent.get(usize::try_from(place).ok()?)?.as_ref(),
            None => self.early.get(&number),
        }
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<T> {
        let Some(place) = number.checked_sub(self.first) else {
            return self.early.remove(&number);
        };
        let value = self.recent.get_mut(usize::try_from(place).ok()?)?.take();
        self.close_up();
        value
    }

    /// All from `number` on, in their order.
    pub(super) fn starting_at(&self, number: u64) -> impl Iterator<Item = (u64, &T)> {
        let early = self.early.range(number..).map(|(number, value)| (*number, value));
        let place = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let place = place.min(self.recent.len());
        let numbers = self.first + place as u64..;
        let recent = numbers.zip(self.recent.range(place..));
        early.chain(recent.filter_map(|(number, value)| Some((number, value.as_ref()?))))
    }

    /// All, in their order.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.early.values_mut().chain(self.recent.iter_mut().flatten())
    }

    /// All, in their order.
    pub(super) fn into_values(self) -> impl Iterator<Item = T> {
        self.early.into_values().chain(self.recent.into_iter().flatten())
    }

    /// Gives up the places before the first that is taken.
    fn close_up(&mut self) {
        while let Some(None) = self.recent.front() {
            self.recent.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        /// So many come, and go at once.
        Pass(usize),
        Push,
        Remove(prop::sample::Index),
        From(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => (1..2 * RECENT_MAX).prop_map(Step::Pass),
            20 => Just(Step::Push),
            20 => any::<prop::sample::Index>().prop_map(Step::Remove),
            10 => any::<prop::sample::Index>().prop_map(Step::From),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn it_is_a_map(first in 0..u64::MAX / 2, steps in prop::collection::vec(step(), 0..100)) {
            let (mut ours, mut map, mut next) = (Numbered::from(first), BTreeMap::new(), first);
            for step in steps {
                match step {
                    Step::Pass(count) => for _ in 0..count {
                        prop_assert_eq!(ours.push(next), next);
                        prop_assert_eq!(ours.remove(next), Some(next));
                        next += 1;
                    },
                    Step::Push => {
                        prop_assert_eq!(ours.push(next), next);
                        map.insert(next, next);
                        next += 1;
                    }
                    Step::Remove(index) => {
                        let number = first + index.index((next - first) as usize + 1) as u64;
                        prop_assert_eq!(ours.get_mut(number).copied(), map.get(&number).copied());
                        prop_assert_eq!(ours.remove(number), map.remove(&number));
                    }
                    Step::From(index) => {
                        let number = first + index.index((next - first) as usize + 2) as u64;
                        let range = map.range(number..).map(|(number, value)| (*number, value));
                        prop_assert!(ours.starting_at(number).eq(range));
                    }
                }
                prop_assert_eq!(ours.is_empty(), map.is_empty());
            }
            prop_assert!(ours.into_values().eq(map.into_values()));
        }

        #[test]
        fn one_that_stays_costs_no_place_for_each_that_passes(passing in 0..4 * RECENT_MAX) {
            let mut ours = Numbered::from(0);
            ours.push(());
            for number in 1..=passing as u64 {
                ours.push(());
                ours.remove(number);
            }
            prop_assert!(ours.recent.len() <= RECENT_MAX, "{}", ours.recent.len());
            prop_assert_eq!(ours.remove(0), Some(()));
        }
    }
}
