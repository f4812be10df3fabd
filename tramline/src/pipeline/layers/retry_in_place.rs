//! Short pauses are slept in place; longer ones go back through the transport.

use crate::Failure;
use crate::breaker::{Admits, CircuitBreaker};
use crate::pipeline::{Context, Layer, Outcome, Step, Surroundings};
use std::time::Duration;
use tokio::sync::Semaphore;
use tramline_core::failure::Verdict;

/// The longest single pause in place.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// The most that one delivery may pause in place altogether.
const DELIVERY_PAUSES_MAX: Duration = Duration::from_secs(5);
/// The most runs of one delivery: then its failures are recorded, and others have their turn.
const DELIVERY_RUNS_MAX: u32 = 100;

/// Runs the rest again after a short pause, as long as at most half the slots pause. No
/// transaction is open meanwhile: that layer is further in.
///
/// While the circuit breaker is not closed, the message goes back instead: it would only fail again.
pub(crate) struct RetryInPlace {
    sleepers: Semaphore,
    breaker: Option<CircuitBreaker>,
}

impl RetryInPlace {
    pub(crate) fn new(concurrency: usize, breaker: Option<CircuitBreaker>) -> Self {
        Self { sleepers: Semaphore::new(concurrency / 2), breaker }
    }

    /// Sleeps `pause`, or answers at once that it must not: too long, too many pause already, the
    /// breaker is not closed, or the bus stops.
    async fn sleep(&self, surroundings: &Surroundings, pause: Duration) -> Slept {
        if pause.is_zero() {
            // A handler that fails without ever waiting must not keep its thread from others.
            tokio::task::yield_now().await;
            let is_shut = self.breaker.as_ref().is_some_and(|breaker| !breaker.is_closed());
            let must_not = is_shut || surroundings.stopping.has_begun();
            return if must_not { Slept::MustNot } else { Slept::Done };
        }
        let Ok(_place) = self.sleepers.try_acquire() else { return Slept::MustNot };
        let clock = &surroundings.composer.clock;
        let awake = clock.sleep_until(clock.now().after(pause));
        tokio::select! {
            biased;
            () = surroundings.stopping.begun() => Slept::MustNot,
            () = self.shut() => Slept::MustNot,
            () = awake => Slept::Done,
        }
    }

    /// Ends when the breaker is not closed; never without one.
    async fn shut(&self) {
        match &self.breaker {
            Some(breaker) => breaker.until(|admits| admits != Admits::All).await,
            None => std::future::pending().await,
        }
    }
}

enum Slept {
    Done,
    MustNot,
}

impl Layer for RetryInPlace {
    async fn around<N: Step>(&self, cx: &mut Context, next: &N) -> Outcome {
        let mut slept = Duration::ZERO;
        for _ in 1..DELIVERY_RUNS_MAX {
            cx.begin_run();
            let failure = match next.run(cx).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            cx.end_run();
            cx.report(&failure);
            if is_cancelled(cx) {
                return Err(failure);
            }
            if cx.trial.is_some() {
                // Nobody else runs meanwhile; and to fail is to be acquitted, which is recorded.
                return Err(failure);
            }
            let Some(pause) = pause(cx, &failure) else { return Err(failure) };
            slept = slept.saturating_add(pause);
            if pause > PAUSE_MAX || slept > DELIVERY_PAUSES_MAX {
                return Err(failure);
            }
            let surroundings = cx.surroundings.clone();
            let failed_at = surroundings.composer.clock.now();
            match self.sleep(&surroundings, pause).await {
                Slept::MustNot => return Err(failure),
                Slept::Done if cx.is_expired() || is_cancelled(cx) => return Err(failure),
                Slept::Done => cx.message.charge(&failure, failed_at),
            }
        }
        cx.begin_run();
        next.run(cx).await
    }
}

/// Somebody has cancelled it: it does not run again.
fn is_cancelled(cx: &Context) -> bool {
    cx.is_cancelled()
        || cx.surroundings.handlers.is_cancelled(&cx.surroundings.identity, &cx.message.id)
}

/// The pause before the next run; `None` if there is none or it is not ours to give.
fn pause(cx: &Context, failure: &Failure) -> Option<Duration> {
    if *failure.verdict() != Verdict::Retry || cx.surroundings.stopping.heed_failure(failure) {
        return None;
    }
    let fraction = cx.surroundings.composer.entropy.fraction();
    let failures = cx.message.failures.saturating_add(1);
    cx.surroundings.retries.policy(failure).pause(failures, fraction)
}
