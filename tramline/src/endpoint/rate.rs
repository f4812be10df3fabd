//! How many in a time: `governor`, on the bus's clock.

use governor::clock::{Clock as GovernorClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::Add;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tramline_core::clock::{Clock, Timestamp};

/// So many in a time. After a rest as many may go at once ([`burst`](Self::burst)); then one after the other,
/// evenly.
///
/// ```
/// use std::time::Duration;
/// use tramline::{Endpoint, RateLimit};
///
/// let geocoder = RateLimit::per_second(50).burst(5);
/// let customer = RateLimit::new(3, Duration::from_secs(10));
/// let endpoint = Endpoint::new("addresses").rate_limit(geocoder).rate_limit_per_key(customer);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    count: u32,
    per: Duration,
    burst: u32,
}

/// Longer than anybody waits, and short enough to be counted in nanoseconds.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl RateLimit {
    /// `count` in each `per`. 0, no time, or more than a million in a millisecond are refused by
    /// [`BusBuilder::start`](crate::BusBuilder::start).
    pub fn new(count: u32, per: Duration) -> Self {
        Self { count, per, burst: count }
    }

    /// `count` a second.
    pub fn per_second(count: u32) -> Self {
        Self::new(count, Duration::from_secs(1))
    }

    /// `count` a minute.
    pub fn per_minute(count: u32) -> Self {
        Self::new(count, Duration::from_secs(60))
    }

    /// `count` an hour.
    pub fn per_hour(count: u32) -> Self {
        Self::new(count, Duration::from_secs(60 * 60))
    }

    /// How many may go at once after a rest; as many as the rate says if not said. With 1 there is always the
    /// same time between two. Timers are exact to a millisecond: a rate above 1,000 a second needs a larger one.
    #[must_use]
    pub fn burst(mut self, most: u32) -> Self {
        self.burst = most;
        self
    }

    /// The time for one.
    pub(crate) fn period(self) -> Duration {
        self.per / self.count.max(1)
    }

    pub(crate) fn problems(self) -> Vec<String> {
        let Self { count, per, burst } = self;
        let mut problems = Vec::new();
        if count == 0 {
            problems.push("a rate of 0 lets nothing through".to_owned());
        } else if per.is_zero() {
            problems.push(format!("{count} in no time is no limit"));
        } else if self.period().is_zero() {
            problems.push(format!("{count} in {per:?} is more than can be counted"));
        } else if self.period().checked_mul(burst).is_none_or(|rest| rest > FOR_EVER) {
            problems
                .push(format!("{count} in {per:?}, {burst} at once, takes longer than a century"));
        }
        if burst == 0 {
            problems.push("a burst of 0 lets nothing through".to_owned());
        }
        problems
    }
}

/// Who may go when, for each key.
pub(crate) struct Pace {
    limiter: RateLimiter<Question, Known, BusClock, NoOpMiddleware<Moment>>,
    known: Arc<Mutex<HashMap<Arc<str>, Nanos>>>,
    period: Duration,
    /// How many keys are known before those are looked for that need not be.
    many: AtomicUsize,
}

/// So many keys are never looked through.
const FEW: usize = 1000;

impl Pace {
    pub(crate) fn of(limit: RateLimit, clock: Arc<dyn Clock>) -> Self {
        let some = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        let period = limit.period();
        // It has none only for a period of nothing, which `start()` has refused.
        let quota = Quota::with_period(period).unwrap_or(Quota::per_second(NonZeroU32::MIN));
        let known = Arc::<Mutex<HashMap<_, _>>>::default();
        let (state, clock) = (Known(known.clone()), BusClock::of(clock));
        let limiter = RateLimiter::new(quota.allow_burst(some(limit.burst)), state, clock);
        Self { limiter, known, period, many: AtomicUsize::new(FEW) }
    }

    /// Whether one of `key` may go now; that changes nothing.
    ///
    /// # Errors
    /// When it may.
    pub(crate) fn look(&self, key: &Arc<str>) -> Result<(), Timestamp> {
        self.ask(Question { key: key.clone(), takes: false })
    }

    /// One of `key` goes now.
    ///
    /// # Errors
    /// It may not before then, and nothing has changed.
    pub(crate) fn take(&self, key: &Arc<str>) -> Result<(), Timestamp> {
        self.forget();
        self.ask(Question { key: key.clone(), takes: true })
    }

    /// The time for one.
    pub(crate) fn period(&self) -> Duration {
        self.period
    }

    fn ask(&self, question: Question) -> Result<(), Timestamp> {
        let Err(not_until) = self.limiter.check_key(&question) else { return Ok(()) };
        let (now, then) = (self.limiter.clock().now(), not_until.earliest_possible());
        if then.0.since(now.0) > self.period.saturating_add(Duration::from_micros(1)) {
            // Nobody waits for longer than that, unless the clock was set back.
            self.known.lock().remove(&question.key);
            return self.limiter.check_key(&question).map_err(|later| later.earliest_possible().0);
        }
        Err(then.0)
    }

    /// Forgets keys that are as good as new, when there are twice as many as were left the last time.
    fn forget(&self) {
        if self.known.lock().len() < self.many.load(Relaxed) {
            return;
        }
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
        self.many.store((2 * self.limiter.len()).max(FEW), Relaxed);
    }

    #[cfg(test)]
    fn keys(&self) -> usize {
        self.limiter.len()
    }
}

/// What the limiter is asked: of which key, and whether one of it goes if it may.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Question {
    key: Arc<str>,
    takes: bool,
}

/// What is known of keys. Unlike `governor`'s own, it can be looked at without taking: so an endpoint waits
/// before it takes a message.
struct Known(Arc<Mutex<HashMap<Arc<str>, Nanos>>>);

impl StateStore for Known {
    type Key = Question;

    fn measure_and_replace<T, F, E>(&self, question: &Question, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut known = self.0.lock();
        let (answer, next) = decide(known.get(&question.key).copied())?;
        if question.takes {
            known.insert(question.key.clone(), next);
        }
        Ok(answer)
    }
}

impl ShrinkableKeyedStateStore<Question> for Known {
    fn retain_recent(&self, drop_below: Nanos) {
        self.0.lock().retain(|_, next| *next > drop_below);
    }

    fn shrink_to_fit(&self) {
        self.0.lock().shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.0.lock().len()
    }

    fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

struct BusClock {
    clock: Arc<dyn Clock>,
    has_begun: AtomicBool,
}

impl BusClock {
    fn of(clock: Arc<dyn Clock>) -> Self {
        Self { clock, has_begun: AtomicBool::new(false) }
    }
}

impl GovernorClock for BusClock {
    type Instant = Moment;

    /// A limiter asks when it is made, and counts from then: from the epoch, because a clock may be set back to
    /// before the start, and it knows no time before.
    fn now(&self) -> Moment {
        let has_begun = self.has_begun.swap(true, Relaxed);
        Moment(if has_begun { self.clock.now() } else { Timestamp::default() })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(Timestamp);

impl Add<Nanos> for Moment {
    type Output = Self;

    /// Rounded up: a microsecond early would be too early.
    fn add(self, nanos: Nanos) -> Self {
        Self(self.0.after(Duration::from_micros(nanos.as_u64().div_ceil(1000))))
    }
}

impl Reference for Moment {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.since(earlier.0).min(FOR_EVER).into()
    }

    fn saturating_sub(&self, nanos: Nanos) -> Self {
        Self(self.0.before(Duration::from(nanos)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tramline_core::clock::ManualClock;

    fn pace(limit: RateLimit) -> (Pace, ManualClock) {
        let clock = ManualClock::at(Timestamp::from_millis(5_000_000));
        (Pace::of(limit, Arc::new(clock.clone())), clock)
    }

    proptest! {
        #[test]
        fn who_comes_when_he_is_told_may_go_and_never_before_and_never_too_many_go(
            count in 1_u32..20,
            per_millis in 1_u64..3000,
            burst in 1_u32..10,
            rests in proptest::collection::vec(0_u64..5_000_000, 1..60),
        ) {
            let per = Duration::from_millis(per_millis);
            let (pace, clock) = pace(RateLimit::new(count, per).burst(burst));
            let key: Arc<str> = "a".into();
            let mut went = Vec::new();
            for rest in rests {
                clock.advance(Duration::from_micros(rest % 700_000));
                if let Err(then) = pace.look(&key) {
                    prop_assert!(then > clock.now());
                    clock.advance(then.since(clock.now()).saturating_sub(Duration::from_micros(1)));
                    prop_assert_eq!(pace.take(&key), Err(then), "a microsecond early");
                    clock.advance(then.since(clock.now()));
                }
                prop_assert_eq!(pace.look(&key), Ok(()), "to look takes nothing");
                prop_assert_eq!(pace.take(&key), Ok(()));
                went.push(clock.now());
            }
            // Between any two of them there was the time for all beyond the burst.
            let apart = burst as usize;
            for (early, late) in went.iter().zip(went.iter().skip(apart)) {
                prop_assert!(late.since(*early) + Duration::from_micros(1) >= per / count);
            }
        }
    }

    #[test]
    fn keys_that_are_as_good_as_new_are_forgotten() {
        let (pace, clock) = pace(RateLimit::per_second(1));
        for n in 0..100_000 {
            clock.advance(Duration::from_millis(10));
            assert_eq!(pace.take(&n.to_string().into()), Ok(()));
            assert!(pace.keys() <= 2 * FEW);
        }
        let last: Arc<str> = "99999".into();
        assert!(pace.take(&last).is_err(), "those that are not are known");
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nobody_up() {
        struct Set(Mutex<Timestamp>);
        impl Clock for Set {
            fn now(&self) -> Timestamp {
                *self.0.lock()
            }
            fn sleep_until(&self, _: Timestamp) -> tramline_core::BoxFuture<'static, ()> {
                Box::pin(std::future::pending())
            }
        }
        let clock = Arc::new(Set(Mutex::new(Timestamp::from_millis(5_000_000))));
        let pace = Pace::of(RateLimit::per_second(1), clock.clone());
        let key: Arc<str> = "a".into();
        *clock.0.lock() = Timestamp::from_millis(9_000_000);
        assert_eq!(pace.take(&key), Ok(()));
        *clock.0.lock() = Timestamp::from_millis(6_000_000);
        assert_eq!(pace.take(&key), Ok(()));
        assert_eq!(pace.take(&key), Err(Timestamp::from_millis(6_001_000)));
        // Before the start there is a rate as well.
        *clock.0.lock() = Timestamp::from_millis(1_000_000);
        assert_eq!(pace.take(&key), Ok(()));
        assert_eq!(pace.take(&key), Err(Timestamp::from_millis(1_001_000)));
        *clock.0.lock() = Timestamp::from_millis(1_001_000);
        assert_eq!((pace.take(&key), pace.take(&key).is_err()), (Ok(()), true));
    }
}
