//! Chance from a seed.

use tramline_core::clock::{Entropy, SeededEntropy};

/// The same seed makes the same choices.
pub(super) struct Chance(SeededEntropy);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(SeededEntropy::new(seed))
    }

    /// A number below `end`.
    pub(super) fn below(&self, end: usize) -> usize {
        (self.0.bits() % end.max(1) as u128) as usize
    }

    /// Whether something happens that happens once in so many times.
    pub(super) fn one_in(&self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of `choices`, of which there is at least one.
    pub(super) fn of<T: Clone>(&self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}
