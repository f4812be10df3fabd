//! The handle around the machine: a lock, a clock, and who is told when it turns.

use super::builder::CircuitBreakerBuilder;
use super::figures::{BreakerFigures, Told};
use super::machine::{BreakerState, Call, CallEnd, Ended, Machine};
use super::seats::{Seat, Seats};
use crate::Failure;
use parking_lot::Mutex;
use std::fmt;
use std::mem::discriminant;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;
use tramline_core::clock::{Clock, SystemClock, Timestamp};
use tramline_core::failure::Verdict;
use tramline_core::{Error, ErrorKind};

/// Stops calls to something that fails too often, and tries from time to time whether it is back. Clones are
/// the same breaker.
///
/// Given to an endpoint by [`Endpoint::circuit_breaker`](crate::Endpoint::circuit_breaker), it pauses that
/// endpoint's receiver instead of burning its messages' retries. Around any other call: [`CircuitBreaker::call`].
/// One breaker may be given to several endpoints, whose dependency is the same one. It knows what happens in
/// this process only.
///
/// For metrics: `tramline_breaker_state{breaker}` (0 closed, 1 half-open, 2 open) and
/// `tramline_breaker_opened_total{breaker}`; install the recorder before it is built.
#[derive(Clone)]
pub struct CircuitBreaker(Arc<Inner>);

struct Inner {
    name: String,
    open_for: Duration,
    counts: Option<Counts>,
    problems: Vec<String>,
    clock: OnceLock<Arc<dyn Clock>>,
    machine: Mutex<Machine>,
    /// The state, as far as anybody has looked; told again when a place for a probe is free.
    turns: watch::Sender<BreakerState>,
    seats: Seats,
    opened: AtomicU64,
    told: Told,
}

pub(super) type Counts = Box<dyn Fn(&Failure) -> bool + Send + Sync>;

/// Whom a breaker lets through at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admits {
    /// Everybody.
    All,
    /// A probe.
    Probe,
    /// Nobody until a probe has ended.
    AfterAProbe,
    /// Nobody until then.
    From(Timestamp),
}

impl CircuitBreaker {
    /// Begins a breaker; `name` is how logs and metrics call it.
    pub fn named(name: impl Into<String>) -> CircuitBreakerBuilder {
        CircuitBreakerBuilder::new(name.into())
    }

    pub(super) fn built(builder: CircuitBreakerBuilder) -> Self {
        let problems = builder.problems();
        let CircuitBreakerBuilder { name, rules, counts, clock } = builder;
        Self(Arc::new(Inner {
            open_for: rules.open_for,
            counts,
            problems,
            clock: clock.map_or_else(OnceLock::new, OnceLock::from),
            machine: Mutex::new(Machine::new(rules)),
            turns: watch::Sender::new(BreakerState::Closed),
            seats: Seats::of(rules.probes),
            opened: AtomicU64::new(0),
            told: Told::of(&name),
            name,
        }))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it lets calls through, at this moment.
    pub fn state(&self) -> BreakerState {
        self.ask(|machine, now| machine.state(now))
    }

    /// How it does, at this moment.
    pub fn figures(&self) -> BreakerFigures {
        let (state, count) = self.ask(|machine, now| (machine.state(now), machine.count(now)));
        let opened = self.0.opened.load(Relaxed);
        BreakerFigures { state, calls: count.calls, failed: count.failed, opened }
    }

    /// Runs `work`, or refuses at once while it is open. For calls outside of endpoints: inside of a handler
    /// whose endpoint has this breaker, the call would be counted twice, and be in its own way.
    ///
    /// Cancel-safe: a call that is dropped says nothing about the dependency. A panic counts as a failure, and
    /// goes on.
    ///
    /// ```
    /// # use tramline::breaker::CircuitBreaker;
    /// # #[tokio::main]
    /// # async fn main() {
    /// let files = CircuitBreaker::named("files").calls_min(1).build();
    /// let gone = files.call(async { std::fs::read("/it/is/down") }).await;
    /// assert!(gone.is_err());
    /// let refused = files.call(async { Ok::<_, std::io::Error>(7) }).await;
    /// assert!(refused.unwrap_err().to_string().contains("circuit breaker is open"));
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `work` failed with; or a retryable failure with an [`Error`] of
    /// [`ErrorKind::Unavailable`] in it, and `work` has not begun; or a permanent one with
    /// [`ErrorKind::Misconfigured`], because the breaker's own figures make no sense.
    pub async fn call<T, E: Into<Failure>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        let doing = || format!("call {}", self.0.name);
        if !self.0.problems.is_empty() {
            let error = Error::new(ErrorKind::Misconfigured, doing());
            return Err(Failure::permanent(error.because(self.0.problems.join("; "))));
        }
        let Some(permit) = self.begin() else {
            let error = Error::new(ErrorKind::Unavailable, doing());
            return Err(Failure::retryable(error.because("its circuit breaker is open")));
        };
        let done = work.await.map_err(Into::into);
        permit.end(match &done {
            Ok(_) => CallEnd::Succeeded,
            Err(failure) if self.counts(failure) => CallEnd::Failed,
            Err(_) => CallEnd::Unclear,
        });
        done
    }

    /// Begins a call; `None` if it is not let through.
    pub(crate) fn begin(&self) -> Option<Permit> {
        let call = self.ask(Machine::begin)?;
        Some(Permit { breaker: self.clone(), call: Some(call), seat: None })
    }

    /// Whether `failure` says that the dependency is down.
    pub(crate) fn counts(&self, failure: &Failure) -> bool {
        // An outdated program fails whatever the dependency does.
        let counts = match &self.0.counts {
            Some(counts) => counts(failure),
            None => *failure.verdict() == Verdict::Retry,
        };
        counts && failure.outdated().is_none()
    }

    pub(crate) fn admits(&self) -> Admits {
        self.ask(|machine, now| match (machine.state(now), machine.has_room(now)) {
            (BreakerState::Closed, _) => Admits::All,
            (BreakerState::HalfOpen, true) => Admits::Probe,
            (BreakerState::HalfOpen, false) => Admits::AfterAProbe,
            (BreakerState::Open { until }, _) => Admits::From(until),
        })
    }

    /// Whether it is closed, as far as anybody has looked: cheap, and right as long as nobody waits for time.
    pub(crate) fn is_closed(&self) -> bool {
        *self.0.turns.borrow() == BreakerState::Closed
    }

    /// Ends when `is_so` of whom it admits. Cancel-safe.
    pub(crate) async fn until(&self, is_so: impl Fn(Admits) -> bool) {
        let mut turns = self.0.turns.subscribe();
        loop {
            turns.mark_unchanged();
            let admits = self.admits();
            if is_so(admits) {
                return;
            }
            let later = async {
                match admits {
                    Admits::From(until) => self.clock().sleep_at_most_until(until).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                // The breaker itself holds the other end.
                _ = turns.changed() => {}
                () = later => {}
            }
        }
    }

    /// Where receivers sit that take messages to try the dependency.
    pub(crate) fn seats(&self) -> &Seats {
        &self.0.seats
    }

    /// How long a message stays away whose probe has failed: a little longer than the breaker stays open, so
    /// that others are tried first. One that fails for its own sake would else keep it open for ever.
    pub(crate) fn probe_pause(&self) -> Duration {
        self.0.open_for.saturating_add(self.0.open_for / 10)
    }

    /// For how long it stays open.
    pub(crate) fn open_for(&self) -> Duration {
        self.0.open_for
    }

    /// Everything that is wrong with it, in words.
    pub(crate) fn problems(&self) -> &[String] {
        &self.0.problems
    }

    /// Takes the time from `clock` from now on, unless it has one.
    pub(crate) fn adopt(&self, clock: &Arc<dyn Clock>) {
        self.0.clock.get_or_init(|| clock.clone());
    }

    fn clock(&self) -> &dyn Clock {
        self.0.clock.get().map_or(&SystemClock, |clock| &**clock)
    }

    /// Asks the machine, and tells of it if that has turned.
    fn ask<A>(&self, ask: impl FnOnce(&mut Machine, Timestamp) -> A) -> A {
        let mut machine = self.0.machine.lock();
        // Under the lock, so that time does not go back between one call and the next.
        let now = self.clock().now();
        let answer = ask(&mut machine, now);
        let state = machine.state(now);
        let has_turned = self.0.turns.send_if_modified(|told| {
            // Not if it is open until another time, because the clock was set back.
            let turned = discriminant(told) != discriminant(&state);
            *told = state;
            turned
        });
        if has_turned {
            // Under the lock, so that the last word is the right one.
            self.0.told.turned(state);
        }
        drop(machine);
        if has_turned {
            self.log(state);
        }
        answer
    }

    fn log(&self, state: BreakerState) {
        let (breaker, open_for) = (&*self.0.name, self.0.open_for);
        match state {
            BreakerState::Open { .. } => {
                self.0.opened.fetch_add(1, Relaxed);
                tracing::warn!(
                    breaker,
                    ?open_for,
                    "too many calls have failed: the circuit breaker opens"
                );
            }
            BreakerState::HalfOpen => {
                tracing::info!(breaker, "the circuit breaker tries a few calls")
            }
            BreakerState::Closed => tracing::info!(breaker, "the circuit breaker closes"),
        }
    }
}

/// A call at work; dropped without an end it says nothing, unless it is dropped by a panic.
#[must_use = "a call has an end"]
pub(crate) struct Permit {
    breaker: CircuitBreaker,
    call: Option<Call>,
    seat: Option<Seat>,
}

impl Permit {
    /// The same, for a message that was taken from `seat`; that is free when the call has ended.
    pub(crate) fn with_seat(mut self, seat: Option<Seat>) -> Self {
        self.seat = seat;
        self
    }

    /// Whether the breaker is as it was when this was given.
    pub(crate) fn is_current(&self) -> bool {
        let is_current = |call| self.breaker.ask(|machine, now| machine.is_current(call, now));
        self.call.is_some_and(is_current)
    }

    /// Whether it tries if the dependency is back.
    pub(crate) fn is_probe(&self) -> bool {
        self.call.is_some_and(|call| call.is_probe)
    }

    /// Ends the call; answers `None` if it has ended before.
    pub(crate) fn end(mut self, end: CallEnd) -> Option<Ended> {
        self.finish(end)
    }

    fn finish(&mut self, end: CallEnd) -> Option<Ended> {
        let call = self.call.take()?;
        let ended = self.breaker.ask(|machine, now| machine.end(call, end, now));
        if call.is_probe {
            // Its place may be free, though nothing has turned.
            self.breaker.0.turns.send_modify(|_| {});
        }
        drop(self.seat.take());
        Some(ended)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let is_panic = std::thread::panicking();
        let _ended = self.finish(if is_panic { CallEnd::Failed } else { CallEnd::Unclear });
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CircuitBreaker({}, {:?})", self.0.name, self.state())
    }
}
