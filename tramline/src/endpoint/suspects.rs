//! The poison lane: a message that may kill the process is handled while nothing else runs in it.
//!
//! Such a message has no recorded failure, only deliveries whose end nobody heard, and each crash
//! charges everything that was prefetched with it. Alone, it can only be itself that kills.

use crate::breaker::CircuitBreaker;
use crate::endpoint::in_flight::Passage;
use crate::endpoint::process::admitted;
use crate::endpoint::settlement::Ending;
use crate::endpoint::shared::Shared;
use crate::pipeline::{Incoming, Trial};
use futures_util::FutureExt;
use std::time::Duration;
use tramline_core::settlement::Marks;
use tramline_core::transport::Delivery;
use tramline_core::{Error, ErrorKind};

/// After so many deliveries in a row of which nobody heard the end, the one at hand included.
const DELIVERIES_MIN: u32 = 3;
/// For how long everybody else waits for handlers that do not end, before they go on and the
/// suspect waits.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// For how long everybody else waits for the record of a trial, where the transport sets no limit
/// itself.
const RECORD_MAX: Duration = Duration::from_secs(30);

/// What is thought of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suspicion {
    /// Nothing.
    None,
    /// It may have killed the process that handled it.
    Suspect,
    /// It was handled alone often enough, and nobody heard the end of that.
    Poison,
}

/// Judges a delivery by what is known of it.
pub(crate) fn suspicion(deliveries: Option<u32>, marks: Marks) -> Suspicion {
    if marks.trials >= Marks::TRIALS_MAX {
        Suspicion::Poison
    } else if marks.trials > 0 || deliveries.is_some_and(|deliveries| deliveries >= DELIVERIES_MIN)
    {
        Suspicion::Suspect
    } else {
        Suspicion::None
    }
}

/// Whether `delivery` is to be handled alone. Not while the circuit breaker tries whether the dependency is
/// back: in a lane it could not be written down that a trial has ended, and each probe that fails would be one
/// more. A breaker is closed where a process begins, so one that kills is still found.
pub(crate) fn is_suspect<D: Delivery>(shared: &Shared, delivery: &D) -> bool {
    suspicion(delivery.deliveries(), delivery.marks()) != Suspicion::None
        && shared.breaker.as_ref().is_none_or(CircuitBreaker::is_closed)
}

/// Waits until nothing else runs in this process, and records that what follows is a trial.
///
/// In this order: whoever waits for the lane must not be charged for the death of the process by
/// another, and whoever holds it must not wait for a duplicate that waits for the lane.
///
/// # Errors
/// The ending of a delivery that is not to be handled now.
pub(crate) async fn begin_trial<D: Delivery>(
    shared: &Shared,
    delivery: &mut D,
    message: &Incoming,
) -> Result<(Option<Passage>, Trial), Ending> {
    let (passage, trial) = tokio::select! {
        biased;
        begun = enter_alone(shared, delivery, message) => begun?,
        () = delivery.lost() => return Err(Ending::LeaseLost),
        () = shared.surroundings.stopping.begun() => return Err(Ending::Abandoned),
    };
    // The one before may have opened it.
    if shared.breaker.as_ref().is_some_and(|breaker| !breaker.is_closed()) {
        return Err(Ending::Shut);
    }
    let marks = delivery.marks();
    let clock = &shared.surroundings.composer.clock;
    let marked = tokio::select! {
        biased;
        marked = delivery.mark_trial() => marked,
        () = shared.surroundings.killed.cancelled() => return Err(Ending::Untried(marks)),
        () = clock.sleep_until(clock.now().after(RECORD_MAX)) => {
            let doing = format!("record a trial: there was no answer within {RECORD_MAX:?}");
            Err(Error::new(ErrorKind::TimedOut, doing))
        }
    };
    // Somebody else gets it: a copy that is written back would be a second one.
    if delivery.lost().now_or_never().is_some() {
        return Err(Ending::LeaseLost);
    }
    let (endpoint, id) = (&*shared.surroundings.name, &message.id);
    let trials = delivery.marks().trials;
    match marked {
        // Marked, but nothing begins any more.
        Ok(()) if shared.surroundings.begins_nothing() => Err(Ending::Untried(marks)),
        Ok(()) => {
            // After a crash whatever was prefetched is tried once: that is no news, a second time is.
            if trials > 1 {
                tracing::warn!(endpoint, %id, trials, "it may kill the process: handled alone");
            } else {
                tracing::debug!(endpoint, %id, "it may kill the process: handled alone");
            }
            Ok((passage, trial))
        }
        Err(error) => {
            shared.surroundings.stopping.heed(&error);
            tracing::warn!(endpoint, %id, %error, "its trial could not be recorded: later");
            Err(Ending::Untried(marks))
        }
    }
}

async fn enter_alone<D: Delivery>(
    shared: &Shared,
    delivery: &D,
    message: &Incoming,
) -> Result<(Option<Passage>, Trial), Ending> {
    let passage = admitted(shared, delivery, message).await?;
    // One at a time: while one lets the others go on, the next must not hold them up instead.
    let _turn = shared.poison_lane.turn().await;
    let clock = &shared.surroundings.composer.clock;
    loop {
        tokio::select! {
            biased;
            trial = shared.poison_lane.alone() => return Ok((passage, trial)),
            () = clock.sleep_until(clock.now().after(WAIT_MAX)) => {}
        }
        let (endpoint, id) = (&*shared.surroundings.name, &message.id);
        tracing::warn!(endpoint, %id, "it may kill the process, and handlers that run do not end: \
            it waits");
        clock.sleep_until(clock.now().after(WAIT_MAX)).await;
    }
}

/// What is known of a message after a trial that ended: whoever comes back from one is innocent.
pub(crate) fn acquitted(marks: Marks) -> Marks {
    Marks { trials: 0, ..marks }
}

/// What is known of a message after a trial that was cut short: as if it had not begun.
pub(crate) fn untried(marks: Marks) -> Marks {
    Marks { trials: marks.trials.saturating_sub(1), ..marks }
}

/// What a dead letter says of its death.
pub(crate) fn poison(trials: u32) -> String {
    format!(
        "it was handled alone {trials} times, and each time the process died, or was held up for \
         longer than its lease"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_unheard_deliveries_before_this_one_make_a_suspect_and_three_trials_poison() {
        let judged =
            |deliveries, trials| suspicion(deliveries, Marks { trials, unhandled_since: None });
        assert_eq!(judged(None, 0), Suspicion::None, "a broker that does not count accuses nobody");
        assert_eq!([1, 2].map(|n| judged(Some(n), 0)), [Suspicion::None; 2]);
        assert_eq!([3, 1000].map(|n| judged(Some(n), 0)), [Suspicion::Suspect; 2]);
        assert_eq!([1, 2].map(|trials| judged(Some(1), trials)), [Suspicion::Suspect; 2]);
        assert_eq!([3, 4].map(|trials| judged(Some(4), trials)), [Suspicion::Poison; 2]);
    }
}
