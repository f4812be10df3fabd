//! The work on one delivery: admitted, run through the pipeline, settled.

use crate::at_work::{Watch, cancelled};
use crate::breaker::Permit;
use crate::caught::{caught, panic_text};
use crate::endpoint::admit::{Admission, admit};
use crate::endpoint::answer::answer;
use crate::endpoint::in_flight::Passage;
use crate::endpoint::placed::Placed;
use crate::endpoint::settle::settle;
use crate::endpoint::settlement::{Action, Ending, Record, in_lane, settlement};
use crate::endpoint::shared::Shared;
use crate::endpoint::suspects::{Suspicion, begin_trial, is_suspect, suspicion};
use crate::handler::Router;
use crate::outbox;
use crate::pipeline::layers::{
    Breaking, CatchPanic, Metrics, RetryInPlace, TimeLimit, Trace, Transaction,
};
use crate::pipeline::{
    Context, Disposition, Incoming, Outcome, Pipeline, PoisonLane, Stack, Step, Trial,
};
use crate::retry::Retries;
use crate::{Failure, MessageId};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tramline_core::dead::History;
use tramline_core::settlement::Settlement;
use tramline_core::store::{Refusal, Sighting};
use tramline_core::transport::{Delivery, Sent};
use tramline_core::{Error, ErrorKind};

/// The engine's layers around the user's.
pub(crate) type EndpointPipeline = Stack<
    Trace,
    Stack<
        Metrics,
        Stack<Option<RetryInPlace>, Stack<PoisonLane, Stack<Option<Breaking>, Limited>>>,
    >,
>;

/// What each run may take, and what is caught of it.
type Limited = Stack<Option<TimeLimit>, Stack<CatchPanic, Stack<Option<Transaction>, Inner>>>;

/// The handlers, alone or inside of the user's layers.
pub(crate) enum Inner {
    Router(Router),
    Layered(Pipeline),
}

impl Step for Inner {
    async fn run(&self, cx: &mut Context) -> Outcome {
        match self {
            Self::Router(router) => router.run(cx).await,
            Self::Layered(pipeline) => pipeline.run(cx).await,
        }
    }
}

/// Works on `delivery` from admission to settlement. `slot` is free once the handler is done; the
/// settlement is bounded by the prefetch.
pub(crate) async fn process<D: Delivery>(
    shared: Arc<Shared>,
    pipeline: Arc<EndpointPipeline>,
    mut delivery: Placed<D>,
    slot: OwnedSemaphorePermit,
) {
    let permit = delivery.take_permit();
    let (ending, past) = work(&shared, &pipeline, &mut delivery, permit).await;
    finish(&shared, delivery, &ending, past, Some(slot)).await;
}

/// What went wrong with a message before the ending of its delivery.
pub(crate) struct Past {
    /// All failures, but for the one in `Ending::Failed`.
    failures: u32,
    /// Those of this delivery.
    notes: History,
    /// It stays away for so long at least.
    pause_min: Duration,
    /// It was handled alone, and still is.
    trial: Option<Trial>,
}

impl Past {
    /// What is recorded: nothing went wrong in this delivery.
    pub(crate) fn of<D: Delivery>(delivery: &D) -> Self {
        let (failures, notes, pause_min) = (delivery.failures(), History::new(), Duration::ZERO);
        Self { failures, notes, pause_min, trial: None }
    }

    /// The same, of a message that is handled alone, and stays away for a while if it comes again.
    pub(crate) fn with(self, trial: Option<Trial>, pause_min: Duration) -> Self {
        Self { trial, pause_min, ..self }
    }
}

/// Decides and settles. Gives `slot` back before it waits for the broker, unless too many hooks
/// for dead letters are at work already: they, too, are bounded.
pub(crate) async fn finish<D: Delivery>(
    shared: &Shared,
    delivery: Placed<D>,
    ending: &Ending,
    past: Past,
    slot: Option<OwnedSemaphorePermit>,
) {
    let action = match ending {
        // What most messages come to: neither time nor chance is asked for it.
        Ending::Handled => Action::Settle(Settlement::Ack),
        Ending::SettledByStore => Action::Taken,
        ending => decide(shared, &delivery, ending, &past),
    };
    if matches!(ending, Ending::Handled | Ending::SettledByStore) {
        shared.surroundings.hooks.handled(&shared.queue, delivery.envelope());
    }
    let dies = matches!(&action, Action::Settle(Settlement::DeadLetter { .. }));
    let hook_place = if dies && shared.surroundings.hooks.tells_of_dead_letters() {
        // Where no place is free, the slot is kept.
        shared.hook_places.clone().try_acquire_owned().map_or(slot, Some)
    } else {
        drop(slot);
        None
    };
    let dead = settle(shared, delivery, action).await;
    // A trial ends with the answer: were others to run before it, their death would be blamed on
    // this message.
    drop(past);
    if let Some(dead) = dead {
        if dead.envelope.reply_to.is_some() && shared.router.responds(&dead.envelope) {
            Box::pin(answer(shared, &dead.envelope, ending)).await;
        }
        Box::pin(shared.report_dead(dead)).await;
    }
    drop(hook_place);
}

/// What is to be done about a delivery that did not simply succeed.
fn decide<D: Delivery>(
    shared: &Shared,
    delivery: &Placed<D>,
    ending: &Ending,
    past: &Past,
) -> Action {
    let record = Record {
        failures: past.failures,
        notes: past.notes.notes(),
        marks: delivery.marks(),
        is_tried: past.trial.is_some(),
        expires_at: delivery.envelope().expires_at,
        now: shared.now(),
        pause_min: past.pause_min,
        fraction: shared.surroundings.composer.entropy.fraction(),
    };
    let decide =
        |ending: &Ending, retries: &Retries| settlement(ending, record, retries, shared.unhandled);
    // An error's text and its test are the user's code. Whatever these do, the message is settled:
    // a panic here would bring it back at once, and for ever.
    let decided = catch_unwind(AssertUnwindSafe(|| decide(ending, &shared.surroundings.retries)));
    let action = decided.unwrap_or_else(|panic| {
        let failure = Failure::retryable(format!("panicked: {}", panic_text(&*panic)));
        decide(&Ending::Failed(failure), &shared.surroundings.retries)
    });
    match delivery.hold_left(shared.capabilities.hold_max, record.now) {
        Some(left) => in_lane(action, ending, record, left, shared.held_too_long),
        None => action,
    }
}

/// How the work ends, and what went before.
async fn work<D: Delivery>(
    shared: &Arc<Shared>,
    pipeline: &EndpointPipeline,
    delivery: &mut D,
    permit: Option<Box<Permit>>,
) -> (Ending, Past) {
    let incoming = match enter(shared, delivery) {
        Ok(incoming) => incoming,
        Err(ending) => return (ending, Past::of(delivery)),
    };
    let mut cx = Context::new(shared.surroundings.clone(), incoming);
    cx.permit = permit;
    let worked = if is_suspect(shared, delivery) {
        Box::pin(try_alone(shared, pipeline, delivery, &mut cx)).await
    } else {
        watched(shared, delivery, pin!(run(shared, pipeline, delivery, &mut cx))).await
    };
    let ending = worked.unwrap_or_else(|dropped| {
        cx.end_run();
        if let Ending::Failed(failure) = &dropped {
            cx.report(failure);
        }
        dropped
    });
    let is_cancelled = !cx.end_cancelling().is_empty();
    let ending = if is_cancelled { of_cancelled(ending) } else { ending };
    let Incoming { failures, notes, .. } = cx.message;
    (ending, Past { failures, notes, pause_min: cx.pause_min, trial: cx.trial })
}

/// The work on a suspect.
///
/// # Errors
/// As [`watched`].
async fn try_alone<D: Delivery>(
    shared: &Shared,
    pipeline: &EndpointPipeline,
    delivery: &mut D,
    cx: &mut Context,
) -> Result<Ending, Ending> {
    match begin_trial(shared, delivery, &cx.message).await {
        Ok((_passage, trial)) => {
            cx.trial = Some(trial);
            watched(shared, delivery, pin!(handle(shared, pipeline, cx))).await
        }
        Err(ending) => Ok(ending),
    }
}

/// How `work` ends, unless the delivery is lost, the limit of a drain is over, or it is cancelled. `work` is pinned by
/// the caller, because what is given by value is held twice.
///
/// # Errors
/// `work` was dropped for this reason. The message comes again: to an inbox that knows it, or to
/// a handler that publishes the same ids.
async fn watched<D: Delivery>(
    shared: &Shared,
    delivery: &D,
    work: Pin<&mut impl Future<Output = Ending>>,
) -> Result<Ending, Ending> {
    let watch =
        Watch::over(&shared.surroundings, || delivery.envelope().id.iter().cloned().collect());
    let ended = tokio::select! {
        biased;
        ending = work => Ok(ending),
        () = delivery.lost() => Err(Ending::LeaseLost),
        () = shared.surroundings.killed.cancelled() => Err(Ending::Abandoned),
        () = watch.grace_is_over() => Err(Ending::Failed(cancelled())),
    };
    let is_cancelled = !watch.end().is_empty();
    if is_cancelled { ended.map(of_cancelled) } else { ended }
}

/// One that has failed may have failed for that, and is not tried again.
fn of_cancelled(ending: Ending) -> Ending {
    match ending {
        Ending::Failed(_) | Ending::ProbeFailed(_) => Ending::Failed(cancelled()),
        ending => ending,
    }
}

/// From the wait for a duplicate at work to the last message published.
async fn run<D: Delivery>(
    shared: &Shared,
    pipeline: &EndpointPipeline,
    delivery: &D,
    cx: &mut Context,
) -> Ending {
    match admitted(shared, delivery, &cx.message).await {
        Ok(_passage) => handle(shared, pipeline, cx).await,
        Err(ending) => ending,
    }
}

/// Waits for a duplicate at work, and asks the inbox where that is worth it.
///
/// # Errors
/// The ending of a message that no handler is to see.
pub(crate) async fn admitted<D: Delivery>(
    shared: &Shared,
    delivery: &D,
    message: &Incoming,
) -> Result<Option<Passage>, Ending> {
    let Some(sighting) = &message.sighting else { return Ok(None) };
    let passage = shared.in_flight.enter(&sighting.key).await;
    // The one before may have left for the same reason.
    if shared.surroundings.begins_nothing() {
        return Err(Ending::Abandoned);
    }
    if (passage.has_waited() || worth_asking(shared, delivery, sighting))
        && let Some(Some(ending)) =
            known_already(shared, std::slice::from_ref(sighting)).await.into_iter().next()
    {
        return Err(ending);
    }
    // The inbox may have been the first to say that this program is outdated.
    if shared.surroundings.begins_nothing() {
        return Err(Ending::Abandoned);
    }
    Ok(Some(passage))
}

/// From the first layer to the last message published.
async fn handle(shared: &Shared, pipeline: &EndpointPipeline, cx: &mut Context) -> Ending {
    let outcome = caught(pipeline.run(cx)).await;
    ending(shared, cx, outcome).await
}

/// The delivery as the pipeline sees it.
///
/// # Errors
/// The ending of a delivery that no handler is to see.
pub(crate) fn enter<D: Delivery>(shared: &Shared, delivery: &D) -> Result<Incoming, Ending> {
    if shared.surroundings.begins_nothing() {
        return Err(Ending::Abandoned);
    }
    let marks = delivery.marks();
    let is_retried = delivery.failures() > 0 || marks.unhandled_since.is_some();
    let (rules, router) = (shared.rules.as_ref(), &shared.router);
    match admit(delivery.envelope(), is_retried, rules, router, || shared.now()) {
        Admission::Handle if suspicion(delivery.deliveries(), marks) == Suspicion::Poison => {
            Err(Ending::Poison)
        }
        Admission::Handle => incoming(shared, delivery),
        Admission::Filtered => Err(Ending::Filtered),
        Admission::Expired => Err(Ending::Expired),
        Admission::Unknown(why) => {
            if marks.unhandled_since.is_none() {
                let id = delivery.envelope().id.as_ref().map(ToString::to_string);
                tracing::warn!(
                    endpoint = &*shared.surroundings.name,
                    id,
                    why,
                    "kept for who may know it"
                );
            }
            Err(Ending::Unknown(why))
        }
    }
}

fn incoming<D: Delivery>(shared: &Shared, delivery: &D) -> Result<Incoming, Ending> {
    let mut envelope = delivery.envelope().clone();
    let id = match &envelope.id {
        Some(id) => id.clone(),
        None => MessageId::new(shared.now(), shared.surroundings.composer.entropy.bits()),
    };
    // Only a store's transaction takes an ack.
    let ticket = shared.store.as_ref().and_then(|_| delivery.ticket());
    let (failures, notes) = (delivery.failures(), History::new());
    if envelope.idempotency_key.is_none()
        && let Some(key_of) = &shared.idempotency_key
    {
        let asked = catch_unwind(AssertUnwindSafe(|| key_of(&envelope)));
        match asked {
            Ok(None) => {}
            Ok(Some(key)) => Arc::make_mut(&mut envelope).idempotency_key = Some(key),
            Err(panic) => {
                let text = panic_text(&*panic);
                let failure = Failure::retryable(format!("panicked in its key: {text}"));
                let message = Incoming { envelope, id, failures, notes, ticket, sighting: None };
                shared.surroundings.report(&message, &failure);
                return Err(Ending::Failed(failure));
            }
        }
    }
    let sighting = sighting(shared, &envelope, &id, ticket.as_ref());
    Ok(Incoming { envelope, id, failures, notes, ticket, sighting })
}

/// What an inbox row would say, where one is needed: not for messages that were published inside
/// a transaction of the same database, which exist once, unless the sender set a key.
fn sighting(
    shared: &Shared,
    envelope: &Arc<tramline_core::envelope::Envelope>,
    id: &MessageId,
    ticket: Option<&tramline_core::transport::Ticket>,
) -> Option<Sighting> {
    let store = shared.store.as_ref()?;
    let known_by_nothing = envelope.id.is_none() && envelope.idempotency_key.is_none();
    if known_by_nothing {
        return None;
    }
    let exists_once =
        ticket.is_some_and(|ticket| ticket.born_here && ticket.database == store.database_dyn());
    if exists_once && envelope.idempotency_key.is_none() {
        return None;
    }
    Some(Sighting::new(&shared.surroundings.identity, id, envelope))
}

/// Whether the inbox is to be asked before the handler runs. Not on a first delivery of a message
/// that the sender gave no key to, if its ack is part of the transaction: it cannot have been
/// handled before. The row in the transaction is the guarantee anyway.
pub(crate) fn worth_asking<D: Delivery>(
    shared: &Shared,
    delivery: &D,
    sighting: &Sighting,
) -> bool {
    let database = shared.store.as_ref().map(|store| store.database_dyn());
    let acks_in_it = delivery.ticket().is_some_and(|ticket| Some(ticket.database) == database);
    sighting.keyed || delivery.deliveries() != Some(1) || !acks_in_it
}

/// What the inbox makes of each of `sightings`: a cheap look before the handler runs.
pub(crate) async fn known_already(shared: &Shared, sightings: &[Sighting]) -> Vec<Option<Ending>> {
    let Some(store) = shared.store.as_ref().filter(|_| !sightings.is_empty()) else {
        return Vec::new();
    };
    match store.admitted_dyn(sightings).await {
        Ok(known) => known.into_iter().map(|known| known.map(refused)).collect(),
        Err(error) => {
            shared.surroundings.stopping.heed(&error);
            tracing::debug!(endpoint = &*shared.surroundings.name, %error, "the inbox could not be asked");
            Vec::new()
        }
    }
}

/// What a refused condition means for the message.
pub(crate) fn refused(refusal: Refusal) -> Ending {
    match refusal {
        Refusal::Duplicate => Ending::Duplicate,
        Refusal::KeyReused => Ending::KeyReused,
        // No condition of a message is about a schedule.
        Refusal::Busy | Refusal::Changed => Ending::Busy,
        Refusal::LeaseLost => Ending::LeaseLost,
    }
}

async fn ending(shared: &Shared, cx: &mut Context, outcome: Outcome) -> Ending {
    let outcome = match outcome {
        Ok(()) if cx.disposition == Disposition::Open => publish_buffered(shared, cx).await,
        outcome => outcome,
    };
    match outcome {
        Err(failure) => {
            cx.end_run();
            cx.report(&failure);
            if shared.surroundings.stopping.heed_failure(&failure) {
                return Ending::Abandoned;
            }
            Ending::Failed(failure)
        }
        Ok(()) => match std::mem::take(&mut cx.disposition) {
            Disposition::Open => Ending::Handled,
            Disposition::SettledByStore => Ending::SettledByStore,
            Disposition::Unknown | Disposition::Away => Ending::Unanswered,
            Disposition::Expired => Ending::Expired,
            // Only of batches.
            Disposition::RolledBack => Ending::Busy,
            Disposition::Shut => Ending::Shut,
            Disposition::ProbeFailed(after) => Ending::ProbeFailed(after),
            Disposition::Refused(refusals) => match refusals.first() {
                Some((_, refusal)) => refused(*refusal),
                // The store does not say why: later, and uncharged.
                None => Ending::Busy,
            },
        },
    }
}

/// Sends what the handler has published outside of any transaction: after its success, before
/// the ack, so at least once and under the same ids.
pub(crate) async fn publish_buffered(shared: &Shared, cx: &mut Context) -> Outcome {
    let mut batch = cx.buffer.close();
    if batch.is_empty() {
        return Ok(());
    }
    let scope = outbox::scope(cx);
    let mut ordinal = 0;
    batch.iter_mut().for_each(|outgoing| scope.number(outgoing, &mut ordinal));
    let mut sent = shared.sender.send_dyn(&batch, shared.send_deadline()).await.into_iter();
    for outgoing in &batch {
        match sent.next() {
            Some(Sent::Accepted { routed: Some(false) }) => {
                shared.unrouted.count(&outgoing.to);
            }
            Some(Sent::Accepted { .. }) => {}
            Some(Sent::Refused(error) | Sent::Unknown(error)) => {
                return Err(Failure::retryable(error));
            }
            None => {
                let doing = format!("send to {}: there was no answer", outgoing.to);
                return Err(Failure::retryable(Error::new(ErrorKind::TimedOut, doing)));
            }
        }
    }
    Ok(())
}
