//! For how long messages stay away whose keys have too many waiting: so that they come back one after the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::clock::Timestamp;

/// How long one stays away at least that waits for others of its key to end.
const TURN_MIN: Duration = Duration::from_secs(1);
/// The time between two of them: the more there are, the longer they stay.
const TURNS_APART: Duration = Duration::from_millis(10);
/// The longest that any stays away, if the transport can delay it for so long.
const MAX: Duration = Duration::from_secs(60 * 60);
/// So many keys are never looked through.
const FEW: usize = 1000;

/// When the last of each key comes back. Of those that are back nothing is known.
#[derive(Debug)]
pub(super) struct Away {
    /// The longest that any stays away: then it comes back to ask again.
    longest: Duration,
    back_at: HashMap<Arc<str>, Timestamp>,
    asked_at: Timestamp,
    /// How many keys are known before those are looked for that need not be.
    many: usize,
}

impl Away {
    /// Nobody stays away for longer than `delay_max`, if there is such a limit.
    pub(super) fn of(delay_max: Option<Duration>) -> Self {
        Self {
            longest: delay_max.map_or(MAX, |max| max.min(MAX)),
            back_at: HashMap::new(),
            asked_at: Timestamp::default(),
            many: FEW,
        }
    }

    /// For how long one of `key` stays away that may not begin before `then`, at a rate of one in each `period`.
    pub(super) fn until(
        &mut self,
        key: &Arc<str>,
        then: Timestamp,
        period: Duration,
        now: Timestamp,
    ) -> Duration {
        self.forget(now);
        let last = self.back_at.get(key);
        let back_at = last.map_or(then, |last| last.after(period).max(then));
        let back_at = back_at.min(now.after(self.longest));
        self.back_at.insert(key.clone(), back_at);
        back_at.since(now)
    }

    /// For how long one of `key` stays away that waits for others to end.
    pub(super) fn for_a_turn(&mut self, key: &Arc<str>, now: Timestamp) -> Duration {
        self.until(key, now.after(TURN_MIN), TURNS_APART, now)
    }

    fn forget(&mut self, now: Timestamp) {
        // A clock that was set back knows nothing of when they come.
        if std::mem::replace(&mut self.asked_at, now) > now {
            self.back_at.clear();
        }
        if self.back_at.len() >= self.many {
            self.back_at.retain(|_, back_at| *back_at > now);
            self.many = (2 * self.back_at.len()).max(FEW);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    #[test]
    fn each_of_a_key_comes_at_a_time_of_its_own_and_none_after_an_hour() {
        let (mut away, a, b) = (Away::of(None), Arc::from("a"), Arc::from("b"));
        let mut until = |key, now| away.until(key, NOW.after(SECOND), 1500 * SECOND, now);
        assert_eq!([(); 4].map(|()| until(&a, NOW).as_secs()), [1, 1501, 3001, 3600]);
        assert_eq!(until(&b, NOW), SECOND, "each key by itself");
        assert_eq!(until(&a, NOW.before(10 * SECOND)), 11 * SECOND, "the clock was set back");
    }

    /// Each has a time of its own again: the times of those that were sent away for longer than may be are not kept.
    #[test]
    fn nobody_stays_away_for_longer_than_the_transport_can_delay() {
        let (mut away, a) = (Away::of(Some(10 * SECOND)), Arc::from("a"));
        let mut until = |now| away.until(&a, NOW.after(SECOND), 6 * SECOND, now).as_secs();
        assert_eq!([(); 4].map(|()| until(NOW)), [1, 7, 10, 10]);
        assert_eq!(until(NOW.after(7 * SECOND)), 9, "a period behind the last that was given");
    }

    #[test]
    fn the_more_wait_for_a_turn_the_longer_they_stay() {
        let (mut away, a) = (Away::of(None), Arc::from("a"));
        let stays: Vec<_> = (0..500).map(|_| away.for_a_turn(&a, NOW).as_millis()).collect();
        assert_eq!((stays[0], stays[1], stays[499]), (1000, 1010, 5990));
        assert_eq!(away.for_a_turn(&a, NOW.after(60 * SECOND)), SECOND);
    }

    #[test]
    fn keys_of_which_all_are_back_are_forgotten() {
        let mut away = Away::of(None);
        for n in 0..100_000_u32 {
            away.for_a_turn(&n.to_string().into(), NOW.after(SECOND / 10 * n));
            assert!(away.back_at.len() <= 2 * FEW);
        }
    }
}
