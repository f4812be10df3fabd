//! Where the head of a queue was lately, for whoever finds it dear to look from the very beginning.

use std::time::Duration;
use tokio::time::Instant;

/// Before the first message that can be taken stand all that somebody holds, and all that were deleted and
/// are not vacuumed yet: a session with an old snapshot keeps those there for as long as it likes, and to
/// pass over millions of them takes seconds. So who took as many as he asked for begins behind them the
/// next time, and looks from the very beginning, where messages that return and late commits stand, as
/// often as that takes a tenth of the time, or half of it once it takes seconds: nobody should wait for
/// them much longer than a look takes.
#[derive(Debug)]
pub(super) struct Head {
    /// Whoever takes may begin anywhere.
    is_free: bool,
    found: Option<Found>,
    /// How many looks from the very beginning were dear, one after the other.
    dear: u32,
}

#[derive(Debug)]
struct Found {
    /// Behind what was taken last.
    place: i64,
    /// When to look from the very beginning again.
    whole_again: Instant,
    /// Also where little is found: it takes long for another reason than the messages themselves.
    is_dear: bool,
}

/// One look at a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Where it began, if not at the very beginning.
    pub(super) from: Option<i64>,
    /// The last place that it took.
    pub(super) last: Option<i64>,
    /// How many it took.
    pub(super) count: usize,
    /// It took less than it asked for.
    pub(super) emptied: bool,
    pub(super) took: Duration,
}

/// A look that takes longer, and brings many, is not made each time: what comes back waits for no more than
/// others do that are handled at once.
const LONG: Duration = Duration::from_millis(1);
const MANY: usize = 100;
/// And one that takes so long is not, however many it brings, once the one before took so long, too: a server that was
/// held up is no reason.
const DEAR: Duration = Duration::from_millis(50);
/// How much of the time is left to other things at most, for a tenth of it to be spent on looks,
const SHARE: u32 = 10;
/// and by how much that grows from one dear look to the next.
const GROWTH: u32 = 3;
/// What stands before the head waits no longer than this, unless a look itself takes longer.
const PAUSE: Duration = Duration::from_secs(2);
/// And never longer than this: what held up a look may have been somebody's lock.
const PAUSE_MAX: Duration = Duration::from_secs(30);

impl Head {
    /// In a queue with an order, or with what is urgent, the next one may well stand before others, and all
    /// looks begin at the very beginning.
    pub(super) fn new(is_free: bool) -> Self {
        Self { is_free, found: None, dear: 0 }
    }

    /// Where to begin now; `None`: at the very beginning.
    pub(super) fn from(&self, now: Instant) -> Option<i64> {
        self.found.as_ref().filter(|found| now < found.whole_again).map(|found| found.place)
    }

    /// When to look from the very beginning, for whoever has not and rests.
    pub(super) fn whole_again(&self) -> Option<Instant> {
        self.found.as_ref().map(|found| found.whole_again)
    }

    /// A look has ended `now`. Answers whether there is nothing more to take, as far as anybody has to know.
    pub(super) fn looked(&mut self, look: Look, now: Instant) -> bool {
        let Look { from, last, count, emptied, took } = look;
        if !self.is_free {
            return emptied;
        }
        if from.is_none() {
            self.dear = if took > DEAR { self.dear.saturating_add(1) } else { 0 };
        }
        let is_dear = took > DEAR && self.dear > 1;
        let is_long = took > LONG && count >= MANY && !emptied;
        match (&mut self.found, last) {
            (Some(found), Some(last)) if from.is_some() => found.place = last + 1,
            (Some(_), None) if from.is_some() => {}
            (_, Some(last)) if is_dear || is_long => {
                let grown = GROWTH.saturating_pow(self.dear.saturating_sub(2));
                let share = if is_dear { SHARE.min(grown) } else { SHARE };
                let pause = (took * share).min(PAUSE.max(took)).min(PAUSE_MAX);
                let whole_again = now + pause;
                self.found = Some(Found { place: last + 1, whole_again, is_dear });
            }
            _ => self.found = None,
        }
        // Found to be empty from the head on, all of it is looked at before anybody rests; where that is dear,
        // he rests until it is time.
        let is_whole = from.is_none() || self.found.as_ref().is_some_and(|found| found.is_dear);
        if emptied && !is_whole {
            self.found = None;
        }
        emptied && is_whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of one that took many.
    fn look(from: Option<i64>, last: Option<i64>, millis: u64) -> Look {
        Look { from, last, count: MANY, emptied: false, took: Duration::from_millis(millis) }
    }

    fn few(look: Look) -> Look {
        Look { count: MANY - 1, ..look }
    }

    fn poor(look: Look) -> Look {
        Look { emptied: true, ..look }
    }

    #[test]
    fn a_head_that_is_easily_found_is_looked_for_each_time() {
        let (mut head, now) = (Head::new(true), Instant::now());
        for (look, emptied) in [
            (look(None, Some(6), 1), false),
            (few(look(None, Some(6), 50)), false),
            (poor(look(None, Some(6), 50)), true),
            // The server was held up, once.
            (few(look(None, Some(6), 5000)), false),
            (poor(look(None, Some(6), 50)), true),
            (poor(look(None, Some(6), 5000)), true),
        ] {
            assert_eq!(head.looked(look, now), emptied, "{look:?}");
            assert_eq!((head.from(now), head.whole_again()), (None, None), "{look:?}");
        }
    }

    #[test]
    fn a_long_look_is_made_for_a_tenth_of_the_time_while_there_is_much_to_take() {
        let (mut head, now) = (Head::new(true), Instant::now());
        let after = |millis| now + Duration::from_millis(millis);
        assert!(!head.looked(look(None, Some(6), 10), now));
        assert_eq!((head.from(now), head.whole_again()), (Some(7), Some(after(100))));
        assert!(!head.looked(look(Some(7), Some(8), 1), after(50)));
        assert_eq!((head.from(after(99)), head.from(after(100))), (Some(9), None));
        // There is less now: what stands before it counts.
        assert!(!head.looked(poor(look(Some(9), Some(9), 1)), after(60)));
        assert_eq!((head.from(after(61)), head.whole_again()), (None, None));
        assert!(head.looked(poor(look(None, None, 2)), after(62)));
    }

    #[test]
    fn a_dear_look_is_made_for_a_tenth_of_the_time_even_where_there_is_little() {
        let (mut head, now) = (Head::new(true), Instant::now());
        let after = |millis| now + Duration::from_millis(millis);
        for (nth, share) in [0, 1, 3, 9, 10, 10].into_iter().enumerate() {
            assert!(head.looked(poor(look(None, Some(6), 100)), now), "{nth}");
            let again = (share > 0).then(|| after(100 * share));
            assert_eq!((head.from(now), head.whole_again()), (again.map(|_| 7), again), "{nth}");
        }
        assert!(head.looked(poor(look(Some(7), None, 1)), after(600)));
        assert_eq!((head.from(after(999)), head.from(after(1000))), (Some(7), None));
        assert!(head.looked(poor(look(None, Some(9), 1)), after(1100)));
        assert_eq!(head.from(after(1100)), None);
        assert!(head.looked(poor(look(None, Some(9), 100)), after(1200)));
        assert_eq!(head.whole_again(), None, "it begins anew");
    }

    #[test]
    fn what_stands_before_the_head_is_not_waited_for_much_longer_than_a_look_takes() {
        let (mut head, now) = (Head::new(true), Instant::now());
        head.looked(poor(look(None, Some(6), 100)), now);
        for (millis, pause) in [(900, 900), (900, 2000), (5000, 5000), (600_000, 30_000)] {
            head.looked(poor(look(None, Some(6), millis)), now);
            assert_eq!(head.whole_again(), Some(now + Duration::from_millis(pause)), "{millis}");
        }
    }

    #[test]
    fn where_the_next_one_may_stand_before_others_all_looks_are_whole() {
        let (mut head, now) = (Head::new(false), Instant::now());
        for _ in 0..3 {
            assert!(!head.looked(look(None, Some(6), 1000), now));
            assert!(head.looked(poor(look(None, Some(6), 1000)), now));
        }
        assert_eq!((head.from(now), head.whole_again()), (None, None));
    }

    #[test]
    fn a_queue_without_anything_to_take_has_no_head() {
        let (mut head, now) = (Head::new(true), Instant::now());
        for _ in 0..3 {
            assert!(head.looked(poor(look(None, None, 100)), now));
            assert_eq!(head.from(now), None);
        }
    }
}
