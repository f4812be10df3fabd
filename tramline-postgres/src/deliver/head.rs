//! Where the head of a queue was lately, for queues in which it is dear to find.

use std::time::Duration;
use tokio::time::Instant;

/// What was deleted stays before the head of a queue until it is vacuumed, and a session that holds an old
/// snapshot keeps it there for as long as it likes. To pass over millions of such rows takes seconds. So
/// who has found the head begins there the next time, and looks from the very beginning, where messages
/// that return and late commits stand, as often as that takes a tenth of the time.
#[derive(Debug, Default)]
pub(super) struct Head(Option<Found>);

#[derive(Debug)]
struct Found {
    place: i64,
    /// When to look from the very beginning again.
    whole_again: Instant,
}

/// One look at a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Where it began, if not at the very beginning.
    pub(super) from: Option<i64>,
    /// The first place that it took.
    pub(super) first: Option<i64>,
    pub(super) took: Duration,
}

/// A look that takes longer is not made each time.
const DEAR: Duration = Duration::from_millis(50);
/// So much of the time is left to other things.
const SHARE: u32 = 10;

impl Head {
    /// Where to begin now; `None`: at the very beginning.
    pub(super) fn from(&self, now: Instant) -> Option<i64> {
        self.0.as_ref().filter(|found| now < found.whole_again).map(|found| found.place)
    }

    /// When to look from the very beginning, for whoever has not and rests.
    pub(super) fn whole_again(&self) -> Option<Instant> {
        self.0.as_ref().map(|found| found.whole_again)
    }

    /// A look has ended `now`.
    pub(super) fn looked(&mut self, look: Look, now: Instant) {
        match (look.from, look.first, &mut self.0) {
            (Some(_), Some(first), Some(found)) => found.place = first,
            (Some(_), ..) => {}
            (None, Some(place), _) if look.took > DEAR => {
                self.0 = Some(Found { place, whole_again: now + look.took * SHARE });
            }
            (None, ..) => self.0 = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(from: Option<i64>, first: Option<i64>, millis: u64) -> Look {
        Look { from, first, took: Duration::from_millis(millis) }
    }

    #[test]
    fn a_head_that_is_easily_found_is_looked_for_each_time() {
        let (mut head, now) = (Head::default(), Instant::now());
        head.looked(look(None, Some(7), 50), now);
        assert_eq!((head.from(now), head.whole_again()), (None, None));
    }

    #[test]
    fn a_dear_look_is_made_for_a_tenth_of_the_time() {
        let (mut head, now) = (Head::default(), Instant::now());
        let after = |millis| now + Duration::from_millis(millis);
        head.looked(look(None, Some(7), 100), now);
        assert_eq!((head.from(now), head.whole_again()), (Some(7), Some(after(1000))));
        head.looked(look(Some(7), Some(9), 1), after(500));
        head.looked(look(Some(9), None, 1), after(600));
        assert_eq!(head.from(after(999)), Some(9));
        assert_eq!(head.from(after(1000)), None);
        head.looked(look(None, Some(9), 1), after(1100));
        assert_eq!(head.from(after(1100)), None);
    }

    #[test]
    fn a_queue_without_anything_to_take_has_no_head() {
        let (mut head, now) = (Head::default(), Instant::now());
        head.looked(look(None, None, 100), now);
        assert_eq!(head.from(now), None);
    }
}
