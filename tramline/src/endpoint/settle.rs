//! Carries out what was decided: natively, or by a confirmed copy before the ack.

use crate::MessageId;
use crate::dead_letters::DeadLetterReport;
use crate::endpoint::placed::Placed;
use crate::endpoint::settlement::Action;
use crate::endpoint::shared::Shared;
use crate::retry::Retry;
use crate::stopping::Stopping;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::dead::History;
use tramline_core::envelope::Envelope;
use tramline_core::name::QueueRef;
use tramline_core::settlement::{Settled, Settlement};
use tramline_core::transport::{CopyOf, Delivery, Destination, Outgoing, Sent};
use tramline_core::{Error, ErrorKind, Result};

/// Settles `delivery`; answers what is to be told of, if it is a dead letter now. If that fails, the
/// message comes back by itself: its lease, connection or assignment ends, so nothing is lost, and
/// the failure is only told.
pub(crate) async fn settle<D: Delivery>(
    shared: &Shared,
    delivery: Placed<D>,
    action: Action,
) -> Option<DeadLetterReport> {
    match action {
        Action::Settle(Settlement::Ack) => {
            let id = delivery.envelope().id.clone();
            tell(shared, id.as_ref(), delivery.settle(Settlement::Ack).await);
            None
        }
        // In a box, so that the task of a message that succeeds has no room for the rest.
        Action::Settle(how) => Box::pin(settle_otherwise(shared, delivery, how)).await,
        Action::Taken => {
            delivery.settled_by_store();
            None
        }
        Action::Hold(hold) => {
            delivery.hold(hold);
            None
        }
        Action::Forget => None,
    }
}

/// Settles what did not succeed.
async fn settle_otherwise<D: Delivery>(
    shared: &Shared,
    delivery: Placed<D>,
    how: Settlement,
) -> Option<DeadLetterReport> {
    let envelope = delivery.envelope().clone();
    let death = match &how {
        Settlement::DeadLetter { reason, failures, notes } => Some(DeadLetterReport {
            endpoint: shared.surroundings.name.clone(),
            queue: shared.queue.clone(),
            envelope: envelope.clone(),
            reason: reason.clone(),
            failures: *failures,
            error: notes.last().map(|note| note.error.clone()),
        }),
        _ => None,
    };
    let settled = carry_out(shared, delivery, how).await;
    tell(shared, envelope.id.as_ref(), settled).then_some(death)?
}

/// Tells of a settlement that did not take place. Answers whether it did.
fn tell(shared: &Shared, id: Option<&MessageId>, settled: Result<Settled>) -> bool {
    let endpoint = &*shared.surroundings.name;
    match settled {
        Ok(Settled::Done) => return true,
        Ok(Settled::LeaseLost) => tracing::debug!(endpoint, ?id, "the lease was lost"),
        // The log says so once, and needs no line for each message.
        Err(error) if shared.surroundings.stopping.heed(&error) => {}
        Err(error) => {
            tracing::error!(endpoint, ?id, %error, "a message could not be settled and will come again");
        }
    }
    false
}

/// Gives back what nobody has worked on, together, so that they can share a commit; each is begun
/// after the one before. Those that cannot be returned come back when their leases end.
pub(crate) async fn return_all<D: Delivery>(deliveries: Vec<D>, stopping: &Stopping) {
    let returned = deliveries.into_iter().map(|delivery| delivery.settle(Settlement::Return));
    let returned = futures_util::future::join_all(returned).await;
    let errors = returned.into_iter().filter_map(Result::err);
    let errors: Vec<_> = errors.filter(|error| !stopping.heed(error)).collect();
    if let Some(error) = errors.first() {
        tracing::warn!(messages = errors.len(), %error, "messages could not be returned at once");
    }
}

async fn carry_out<D: Delivery>(shared: &Shared, delivery: D, how: Settlement) -> Result<Settled> {
    let native = match &how {
        Settlement::Retry { .. } => shared.capabilities.delayed_retry.is_native(),
        Settlement::DeadLetter { .. } => shared.capabilities.dead_letter.is_native(),
        Settlement::Ack | Settlement::Return => true,
    };
    if native {
        return delivery.settle(how).await;
    }
    let copy = [copy(shared, &delivery, how)];
    // Dies the process here, the message is there twice: duplicated, never lost. Acked first, it
    // would be lost.
    match send_copy(shared, &delivery, &copy).await {
        Ok(()) => delivery.settle(Settlement::Ack).await,
        Err(error) => {
            delivery.settle(Settlement::Return).await?;
            Err(error)
        }
    }
}

/// How often a copy is sent before its message goes back as it is.
const COPY_TRIES_MAX: u32 = 8;

/// Sends a copy until it is confirmed. A message that was given back at once would run its handler
/// again at once, uncharged, for as long as the broker takes no copies; held, it costs a place in
/// the prefetch and no slot. A drain and a lost lease end the tries.
async fn send_copy<D: Delivery>(shared: &Shared, delivery: &D, copy: &[Outgoing]) -> Result<()> {
    let clock = &shared.surroundings.composer.clock;
    let pauses = Retry::exponential(Duration::from_millis(200)).max(Duration::from_secs(15));
    let pauses = pauses.jitter().runs(COPY_TRIES_MAX);
    let mut tries = 0;
    loop {
        let sent = shared.sender.send_dyn(copy, shared.send_deadline()).await;
        let error = match sent.into_iter().next().map(Sent::into_result) {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => error,
            None => Error::new(ErrorKind::TimedOut, "send a copy: there was no answer"),
        };
        tries += 1;
        let fraction = 0.5 + shared.surroundings.composer.entropy.fraction() / 2.0;
        let Some(pause) = pauses.pause(tries, fraction) else { return Err(error) };
        if shared.surroundings.stopping.heed(&error) {
            return Err(error);
        }
        tracing::warn!(endpoint = &*shared.surroundings.name, %error, tries, "a copy could not be sent");
        tokio::select! {
            biased;
            () = shared.surroundings.stopping.begun() => return Err(error),
            () = delivery.lost() => return Err(error),
            () = clock.sleep_until(clock.now().after(pause)) => {}
        }
    }
}

/// The copy that stands for a native retry or dead letter. It goes to the queue and never to the
/// topic, and it keeps the message's id.
fn copy<D: Delivery>(shared: &Shared, delivery: &D, how: Settlement) -> Outgoing {
    let mut history = History::new();
    delivery.history().iter().cloned().for_each(|note| history.push(note));
    let (to, due, copy) = match how {
        Settlement::Retry { after, failures, notes, marks } => {
            notes.into_iter().for_each(|note| history.push(note));
            let due = (!after.is_zero()).then(|| shared.now().after(after));
            (QueueRef::Main(shared.queue.clone()), due, CopyOf::Retry { failures, history, marks })
        }
        Settlement::DeadLetter { reason, failures, notes } => {
            notes.into_iter().for_each(|note| history.push(note));
            let copy = CopyOf::DeadLetter { reason, failures, history };
            (QueueRef::Dead(shared.queue.clone()), None, copy)
        }
        Settlement::Ack | Settlement::Return => unreachable!("always native"),
    };
    let mut envelope = Envelope { via: None, ..(**delivery.envelope()).clone() };
    if envelope.name.is_none() {
        // A message without a name is routed by the subject that it came under.
        let via = delivery.envelope().via.as_ref();
        envelope.name = via.map(|via| via.subject.to_string().into());
    }
    let to = Destination::Queue(to);
    Outgoing { to, envelope: Arc::new(envelope), due, copy: Some(copy) }
}
