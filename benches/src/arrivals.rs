//! Which messages came, and how late each was.

use crate::completion::Completion;
use crate::latency::percentiles;
use crate::message::OrderPlaced;
use std::sync::{Mutex, PoisonError};
use tramline::core::clock::{Clock, SystemClock};

/// The orders from 0 on, each of which is awaited once.
pub(crate) struct Arrivals {
    left: Completion,
    seen: Mutex<Seen>,
}

struct Seen {
    /// Of each order by its number: how long after its time it came first.
    micros: Vec<Option<i64>>,
    again: u64,
}

impl Arrivals {
    pub(crate) fn of(messages: u64) -> Self {
        let seen = Seen { micros: vec![None; messages as usize], again: 0 };
        Self { left: Completion::of(messages), seen: Mutex::new(seen) }
    }

    /// The handler of `order`, which was placed for a later time, has begun.
    pub(crate) fn note(&self, order: &OrderPlaced) {
        let late = SystemClock.now().as_micros() - order.placed_at;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.micros.get_mut(order.number() as usize) {
            Some(first @ None) => {
                *first = Some(late);
                self.left.count();
            }
            Some(Some(_)) => seen.again += 1,
            // From another run.
            None => {}
        }
    }

    /// Ends when all have come. For one waiter.
    pub(crate) async fn wait(&self) {
        self.left.wait().await;
    }

    /// How many have not come.
    pub(crate) fn missing(&self) -> usize {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.micros.iter().filter(|late| late.is_none()).count()
    }

    /// How often a message came that had come before.
    pub(crate) fn again(&self) -> u64 {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).again
    }

    /// So many percent were late by at most so many milliseconds.
    pub(crate) fn late(&self, percents: &[usize]) -> Vec<f64> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        percentiles(seen.micros.iter().flatten().copied().collect(), percents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_comes_twice_stands_for_no_other() {
        let arrivals = Arrivals::of(2);
        for number in [1, 1, 7] {
            arrivals.note(&OrderPlaced::new(number));
        }
        assert_eq!((arrivals.missing(), arrivals.again()), (1, 1));
        arrivals.note(&OrderPlaced::new(0));
        assert_eq!((arrivals.missing(), arrivals.again()), (0, 1));
    }
}
