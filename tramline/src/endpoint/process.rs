//! The work on one delivery: admitted, run through the pipeline, settled.

use crate::Failure;
use crate::MessageId;
use crate::endpoint::admit::{Admission, admit};
use crate::endpoint::settle::settle;
use crate::endpoint::settlement::{Ending, Record, settlement};
use crate::endpoint::shared::Shared;
use crate::handler::Router;
use crate::outbox;
use crate::pipeline::layers::{
    CatchPanic, Metrics, RetryInPlace, TimeLimit, Trace, Transaction, caught,
};
use crate::pipeline::{Context, Disposition, Incoming, Outcome, Pipeline, Stack, Step};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tramline_core::store::{Refusal, Sighting};
use tramline_core::transport::{Delivery, Sent};

/// The engine's layers around the user's.
pub(crate) type EndpointPipeline = Stack<
    Trace,
    Stack<
        Metrics,
        Stack<
            Option<RetryInPlace>,
            Stack<Option<TimeLimit>, Stack<CatchPanic, Stack<Option<Transaction>, Inner>>>,
        >,
    >,
>;

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
    delivery: D,
    slot: OwnedSemaphorePermit,
) {
    let (ending, failures) = work(&shared, &*pipeline, &delivery).await;
    drop(slot);
    finish(&shared, delivery, &ending, failures).await;
}

/// Decides and settles.
pub(crate) async fn finish<D: Delivery>(
    shared: &Shared,
    delivery: D,
    ending: &Ending,
    failures: u32,
) {
    let record = Record {
        failures,
        marks: delivery.marks(),
        now: shared.now(),
        fraction: shared.composer.entropy.fraction(),
    };
    let action = settlement(ending, record, &shared.retries, shared.unhandled);
    settle(shared, delivery, action).await;
}

async fn work<D: Delivery>(
    shared: &Arc<Shared>,
    pipeline: &EndpointPipeline,
    delivery: &D,
) -> (Ending, u32) {
    let failures = delivery.failures();
    if let Some(ending) = refused_at_the_door(shared, delivery) {
        return (ending, failures);
    }
    let incoming = incoming(shared, delivery);
    let _passage = match &incoming.sighting {
        Some(sighting) => Some(shared.in_flight.enter(&sighting.key).await),
        None => None,
    };
    if let Some(ending) = known_already(shared, delivery, incoming.sighting.as_ref()).await {
        return (ending, failures);
    }
    let mut cx = Context::new(shared.clone(), incoming, Vec::new());
    // The pipeline is in a block of its own: it borrows the context, which has the last word.
    let outcome = {
        let run = caught(pipeline.run(&mut cx));
        tokio::select! {
            biased;
            outcome = run => Ok(outcome),
            () = delivery.lost() => Err(Ending::LeaseLost),
            () = shared.killed.cancelled() => Err(Ending::Abandoned),
        }
    };
    let ending = match outcome {
        Ok(outcome) => ending(&mut cx, outcome).await,
        Err(ending) => {
            cx.cancel();
            ending
        }
    };
    (ending, cx.message.failures)
}

/// The ending of a delivery that no handler is to see.
pub(crate) fn refused_at_the_door<D: Delivery>(shared: &Shared, delivery: &D) -> Option<Ending> {
    let failures = delivery.failures();
    match admit(delivery.envelope(), failures, &shared.rules, &shared.router, shared.now()) {
        Admission::Handle => None,
        Admission::Filtered => Some(Ending::Filtered),
        Admission::Expired => Some(Ending::Expired),
        Admission::Unknown(why) => Some(Ending::Unknown(why)),
    }
}

/// The delivery as the pipeline sees it.
pub(crate) fn incoming<D: Delivery>(shared: &Shared, delivery: &D) -> Incoming {
    let mut envelope = delivery.envelope().clone();
    if envelope.idempotency_key.is_none()
        && let Some(key) = shared.idempotency_key.as_ref().and_then(|key_of| key_of(&envelope))
    {
        Arc::make_mut(&mut envelope).idempotency_key = Some(key);
    }
    let id = match &envelope.id {
        Some(id) => id.clone(),
        None => MessageId::new(shared.now(), shared.composer.entropy.bits()),
    };
    let ticket = delivery.ticket();
    let sighting = sighting(shared, &envelope, &id, ticket.as_ref());
    Incoming { envelope, id, failures: delivery.failures(), ticket, sighting }
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
    Some(Sighting::new(&shared.name, id, envelope))
}

/// A cheap look into the inbox before the handler runs. A first delivery is worth it only if the
/// sender can have sent the message twice; the row in the transaction is the guarantee anyway.
async fn known_already<D: Delivery>(
    shared: &Shared,
    delivery: &D,
    sighting: Option<&Sighting>,
) -> Option<Ending> {
    let sighting = sighting?;
    if delivery.deliveries() == Some(1) && !sighting.keyed {
        return None;
    }
    let store = shared.store.as_ref()?;
    match store.admitted_dyn(std::slice::from_ref(sighting)).await {
        Ok(known) => known.into_iter().next().flatten().map(refused),
        Err(error) => {
            tracing::debug!(endpoint = &*shared.name, %error, "the inbox could not be asked");
            None
        }
    }
}

/// What a refused condition means for the message.
pub(crate) fn refused(refusal: Refusal) -> Ending {
    match refusal {
        Refusal::Duplicate => Ending::Duplicate,
        Refusal::KeyReused => Ending::KeyReused,
        Refusal::Busy => Ending::Busy,
        Refusal::LeaseLost => Ending::LeaseLost,
    }
}

async fn ending(cx: &mut Context, outcome: Outcome) -> Ending {
    let outcome = match outcome {
        Ok(()) if cx.disposition == Disposition::Open => publish_buffered(cx).await,
        outcome => outcome,
    };
    match outcome {
        Err(failure) => {
            let mut failed = cx.message.clone();
            failed.failures += 1;
            cx.shared.report(&failed, &failure);
            Ending::Failed(failure)
        }
        Ok(()) => match std::mem::take(&mut cx.disposition) {
            Disposition::Open => Ending::Handled,
            Disposition::SettledByStore => Ending::SettledByStore,
            Disposition::Unknown => Ending::Abandoned,
            Disposition::Refused(refusals) => match refusals.first() {
                Some((_, refusal)) => refused(*refusal),
                None => Ending::Abandoned,
            },
        },
    }
}

/// Sends what the handler has published outside of any transaction: after its success, before
/// the ack, so at least once and under the same ids.
pub(crate) async fn publish_buffered(cx: &mut Context) -> Outcome {
    let mut batch = cx.buffer.take();
    if batch.is_empty() {
        return Ok(());
    }
    let scope = outbox::scope(cx);
    let mut ordinal = 0;
    batch.iter_mut().for_each(|outgoing| scope.number(outgoing, &mut ordinal));
    let sent = cx.shared.sender.send_dyn(&batch, cx.shared.send_deadline()).await;
    for answer in sent {
        if let Sent::Refused(error) | Sent::Unknown(error) = answer {
            return Err(Failure::retryable(error));
        }
    }
    Ok(())
}
