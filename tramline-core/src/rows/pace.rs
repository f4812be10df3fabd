//! How many messages a receiver holds: as many as are handled in a moment.

use crate::clock::Timestamp;
use std::time::Duration;

/// If the next claim comes sooner than this, twice as many may be held.
const QUICK: Duration = Duration::from_millis(50);
/// If it comes later than this, half as many.
const SLOW: Duration = Duration::from_millis(200);

/// Grows while claims follow each other quickly: one of a thousand messages costs hardly more than
/// one of a hundred. Shrinks when they do not: what is held here is held back from other processes.
pub struct Pace {
    held: usize,
    least: usize,
    most: usize,
    claimed_at: Option<Timestamp>,
}

impl Pace {
    /// A receiver that may hold `prefetch` messages, and up to `prefetch_max` while it is quick.
    pub fn new(prefetch: u32, prefetch_max: u32) -> Self {
        let least = prefetch.max(1) as usize;
        Self { held: least, least, most: least.max(prefetch_max as usize), claimed_at: None }
    }

    /// A claim is made at `now`. Answers how many messages may be held from then on.
    pub fn claims(&mut self, now: Timestamp) -> usize {
        if let Some(last) = self.claimed_at.replace(now) {
            let took = now.since(last);
            if took < QUICK {
                self.held = self.held.saturating_mul(2).min(self.most);
            } else if took > SLOW {
                self.held = (self.held / 2).max(self.least);
            }
        }
        self.held
    }

    /// There was nothing more to take: how long it is until the next claim says nothing about
    /// handlers.
    pub fn rests(&mut self) {
        self.claimed_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many are held after claims at these milliseconds.
    fn held(pace: &mut Pace, millis: &[i64]) -> Vec<usize> {
        millis.iter().map(|at| pace.claims(Timestamp::from_millis(*at))).collect()
    }

    #[test]
    fn it_grows_while_claims_follow_quickly_and_shrinks_when_they_do_not() {
        let mut pace = Pace::new(100, 350);
        assert_eq!(held(&mut pace, &[0, 10, 20, 30]), [100, 200, 350, 350]);
        assert_eq!(held(&mut pace, &[130, 331, 600, 900]), [350, 175, 100, 100]);
    }

    #[test]
    fn a_rest_is_neither_quick_nor_slow() {
        let mut pace = Pace::new(100, 1000);
        assert_eq!(held(&mut pace, &[0, 10]), [100, 200]);
        pace.rests();
        assert_eq!(held(&mut pace, &[5_000, 5_010]), [200, 400]);
    }

    #[test]
    fn a_prefetch_that_was_asked_for_stays() {
        let mut pace = Pace::new(7, 7);
        assert_eq!(held(&mut pace, &[0, 1, 2, 9_000]), [7, 7, 7, 7]);
    }
}
