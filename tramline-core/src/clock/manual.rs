//! A clock that is wound by hand and chance that can be replayed, for tests.

use super::{Clock, Entropy, Timestamp};
use crate::BoxFuture;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

/// A clock that stands still until it is wound. Clones are the same clock.
///
/// ```
/// use std::time::Duration;
/// use tramline_core::clock::{Clock, ManualClock, Timestamp};
/// let clock = ManualClock::at(Timestamp::from_millis(1_000));
/// clock.advance(Duration::from_secs(1));
/// assert_eq!(clock.now(), Timestamp::from_millis(2_000));
/// ```
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<Mutex<Dial>>);

#[derive(Debug, Default)]
struct Dial {
    now: Timestamp,
    sleepers: BTreeMap<(Timestamp, u64), Waker>,
    sleepers_ever: u64,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Dial { now, ..Dial::default() })))
    }

    /// Winds the clock forward and wakes whoever sleeps until then.
    pub fn advance(&self, by: Duration) {
        let woken: Vec<Waker> = {
            let mut dial = self.dial();
            let now = dial.now.after(by);
            dial.now = now;
            let later = dial.sleepers.split_off(&(now, u64::MAX));
            std::mem::replace(&mut dial.sleepers, later).into_values().collect()
        };
        woken.into_iter().for_each(Waker::wake);
    }

    /// The earliest moment that anybody sleeps until.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.dial().sleepers.keys().next().map(|(at, _)| *at)
    }

    fn dial(&self) -> std::sync::MutexGuard<'_, Dial> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.dial().now
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let mut sleeper = Sleeper { clock: self.clone(), at, place: None };
        Box::pin(std::future::poll_fn(move |cx| sleeper.poll(cx.waker())))
    }
}

/// One sleep; leaves its place when it is dropped.
struct Sleeper {
    clock: ManualClock,
    at: Timestamp,
    place: Option<(Timestamp, u64)>,
}

impl Sleeper {
    fn poll(&mut self, waker: &Waker) -> Poll<()> {
        let mut dial = self.clock.dial();
        if dial.now >= self.at {
            return Poll::Ready(());
        }
        let place = *self.place.get_or_insert_with(|| {
            dial.sleepers_ever += 1;
            (self.at, dial.sleepers_ever)
        });
        dial.sleepers.insert(place, waker.clone());
        Poll::Pending
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.clock.dial().sleepers.remove(&place);
        }
    }
}

/// Chance that repeats: the same seed gives the same bits (SplitMix64,
/// <https://doi.org/10.1145/2714064.2660195>).
#[derive(Debug)]
pub struct SeededEntropy(Mutex<u64>);

impl SeededEntropy {
    /// Chance from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    fn next(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = *state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}

impl Entropy for SeededEntropy {
    fn bits(&self) -> u128 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        u128::from(Self::next(&mut state)) << 64 | u128::from(Self::next(&mut state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::Future, pin::pin, task::Context};

    #[test]
    fn a_sleeper_wakes_when_the_clock_is_wound_to_its_time_and_not_before() {
        let clock = ManualClock::default();
        let mut sleep = pin!(clock.sleep_until(Timestamp::from_millis(10)));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(sleep.as_mut().poll(&mut cx).is_pending());
        clock.advance(Duration::from_millis(9));
        assert!(sleep.as_mut().poll(&mut cx).is_pending());
        clock.advance(Duration::from_millis(1));
        assert!(sleep.as_mut().poll(&mut cx).is_ready());
        assert_eq!(clock.next_wake(), None);
    }

    #[test]
    fn a_dropped_sleeper_is_forgotten() {
        let clock = ManualClock::default();
        let mut sleep = clock.sleep_until(Timestamp::from_millis(10));
        let _ = sleep.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(clock.next_wake(), Some(Timestamp::from_millis(10)));
        drop(sleep);
        assert_eq!(clock.next_wake(), None);
    }

    #[test]
    fn the_same_seed_gives_the_same_chance() {
        let [a, b] = [7, 7].map(SeededEntropy::new);
        assert_eq!([a.bits(), a.bits()], [b.bits(), b.bits()]);
        assert_ne!(a.bits(), a.bits());
    }
}
