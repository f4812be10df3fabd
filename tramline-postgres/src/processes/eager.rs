//! When to look again although nobody has said that there is something.

use std::time::Duration;
use tramline_core::clock::Timestamp;

/// Messages that follow each other closely are looked for: to be told of each would cost more, and
/// last longer, than to look.
#[derive(Debug)]
pub(crate) struct Eager {
    found: Option<Timestamp>,
    /// How far finds are apart, in microseconds, averaged.
    apart: f64,
    /// How often nothing was found since.
    empty: u32,
}

/// Finds that are closer than this are looked for.
const CLOSE: Duration = Duration::from_millis(5);
/// So long after the last one.
const LINGER: Duration = Duration::from_millis(10);
/// With this pause.
const LOOK: Duration = Duration::from_millis(1);
/// Where nobody tells, the pauses grow from here …
const POLL_MIN: Duration = Duration::from_millis(10);
/// … to here.
const POLL_MAX: Duration = Duration::from_millis(100);

impl Default for Eager {
    fn default() -> Self {
        Self { found: None, apart: f64::MAX, empty: 0 }
    }
}

impl Eager {
    /// Something was found at `now`.
    pub(crate) fn finds(&mut self, now: Timestamp) {
        self.empty = 0;
        if let Some(last) = self.found.replace(now) {
            let apart = now.since(last).as_micros() as f64;
            // What is far away is as far as it need be: two close finds after it count.
            let before = self.apart.min(2.0 * CLOSE.as_micros() as f64);
            self.apart = before.mul_add(0.75, apart * 0.25);
        }
    }

    /// Nothing was found at `now`. Answers when to look again by itself; `None`: when told.
    pub(crate) fn finds_nothing(&mut self, now: Timestamp, is_told: bool) -> Option<Timestamp> {
        let doubled = POLL_MIN.saturating_mul(1 << self.empty.min(10));
        self.empty += 1;
        let lingers = self.apart < CLOSE.as_micros() as f64
            && self.found.is_some_and(|found| now.since(found) < LINGER);
        match (lingers, is_told) {
            (true, _) => Some(now.after(LOOK)),
            (false, true) => None,
            (false, false) => Some(now.after(doubled.min(POLL_MAX))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn what_comes_closely_is_looked_for_until_it_stops() {
        let mut eager = Eager::default();
        assert_eq!(eager.finds_nothing(at(0), true), None);
        for millis in 1..10 {
            eager.finds(at(millis));
        }
        assert_eq!(eager.finds_nothing(at(10), true), Some(at(11)));
        assert_eq!(eager.finds_nothing(at(18), true), Some(at(19)));
        assert_eq!(eager.finds_nothing(at(19), true), None);
    }

    #[test]
    fn what_comes_now_and_then_is_waited_for() {
        let mut eager = Eager::default();
        for second in 0..10 {
            eager.finds(at(second * 1000));
            assert_eq!(eager.finds_nothing(at(second * 1000 + 1), true), None);
        }
    }

    #[test]
    fn where_nobody_tells_the_pauses_grow_to_a_bound() {
        let mut eager = Eager::default();
        let pauses: Vec<_> = (0..6).map(|_| eager.finds_nothing(at(0), false).unwrap()).collect();
        assert_eq!(pauses, [at(10), at(20), at(40), at(80), at(100), at(100)]);
        eager.finds(at(1000));
        assert_eq!(eager.finds_nothing(at(1001), false), Some(at(1011)));
    }
}
