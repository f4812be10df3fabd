//! Time and chance come in as arguments: only a [`Clock`] reads the time.

mod manual;
#[cfg(feature = "system")]
mod system;

pub use manual::{ManualClock, SeededEntropy};
#[cfg(feature = "system")]
pub use system::{SystemClock, SystemEntropy};

use crate::BoxFuture;
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment: microseconds since 1970-01-01 UTC. An integer everywhere, in tables and headers.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `micros` microseconds after 1970-01-01 UTC.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The moment `millis` milliseconds after 1970-01-01 UTC.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// Microseconds since 1970-01-01 UTC.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since 1970-01-01 UTC, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment plus `duration`; the far end of time if that is beyond it.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// This moment minus `duration`.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(micros))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(0).after(after),
            Err(before) => Self(0).before(before.duration()),
        }
    }
}

/// The moment at which a call gives up waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Timestamp);

impl Deadline {
    /// `limit` from `now`.
    pub fn after(now: Timestamp, limit: Duration) -> Self {
        Self(now.after(limit))
    }

    /// What is left of it at `now`.
    pub fn left(self, now: Timestamp) -> Duration {
        self.0.since(now)
    }
}

/// Where the time comes from. Tests wind one by hand.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;

    /// Ends at `at`, at once if that is past. Cancel-safe.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()>;

    /// Ends at `at`, and after the time that is left until then now, should the clock be set back meanwhile:
    /// who waits for a time that he can ask for again, asks again. Cancel-safe. If not said, as
    /// [`sleep_until`](Self::sleep_until): right for clocks that nobody sets.
    fn sleep_at_most_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        self.sleep_until(at)
    }
}

/// Where chance comes from: ids and jitter are made of it. Replays pass a seeded one.
pub trait Entropy: Send + Sync + 'static {
    /// 128 random bits.
    fn bits(&self) -> u128;

    /// A number in `0.0..1.0`.
    fn fraction(&self) -> f64 {
        const MANTISSA_BITS: u32 = 53;
        (self.bits() as u64 >> (u64::BITS - MANTISSA_BITS)) as f64 / (1u64 << MANTISSA_BITS) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_moment_and_a_duration_come_to_a_moment_and_back(
            micros in any::<i64>(),
            later in any::<u64>(),
        ) {
            let (start, pause) = (Timestamp::from_micros(micros), Duration::from_micros(later));
            let end = start.after(pause);
            match micros.checked_add_unsigned(later) {
                Some(sum) if i64::try_from(later).is_ok() => {
                    prop_assert_eq!(end, Timestamp::from_micros(sum));
                    prop_assert_eq!((end.since(start), end.before(pause)), (pause, start));
                    prop_assert!(pause.is_zero() || start.since(end).is_zero());
                }
                _ => prop_assert!(end >= start && start.before(pause) <= start),
            }
        }

        #[test]
        fn milliseconds_are_rounded_down(micros in any::<i64>()) {
            let moment = Timestamp::from_micros(micros);
            let whole = Timestamp::from_millis(moment.as_millis());
            prop_assert!(moment.as_millis() == i64::MIN / 1000 - 1 || whole <= moment);
            prop_assert!(moment.since(whole) < Duration::from_millis(1));
        }
    }
}
