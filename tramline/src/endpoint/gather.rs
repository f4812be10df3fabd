//! Batches: gathered, run as one, halved when they fail.

use crate::endpoint::process::{
    EndpointPipeline, finish, incoming, publish_buffered, refused, refused_at_the_door,
};
use crate::endpoint::settlement::Ending;
use crate::endpoint::shared::Shared;
use crate::pipeline::layers::caught;
use crate::pipeline::{Context, Disposition, Incoming, Step};
use futures_util::FutureExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tramline_core::Result;
use tramline_core::store::Refusal;
use tramline_core::transport::{Delivery, Receiver};

/// How large a batch may be, and how long it waits for more when it is not full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gathering {
    pub(crate) size_max: usize,
    pub(crate) wait: Duration,
}

/// A batch that begins with `first`: what is there at once, and what comes within the wait.
/// A receiver's error ends the batch and is met again by the next call.
pub(crate) async fn gather<R: Receiver>(
    shared: &Shared,
    receiver: &mut R,
    first: R::Delivery,
    gathering: Gathering,
) -> Vec<R::Delivery> {
    let mut batch = vec![first];
    let clock = &shared.composer.clock;
    let mut late = clock.sleep_until(clock.now().after(gathering.wait));
    while batch.len() < gathering.size_max {
        let next: Result<Option<R::Delivery>> = match receiver.next().now_or_never() {
            Some(next) => next,
            None if gathering.wait.is_zero() => break,
            None => tokio::select! {
                biased;
                next = receiver.next() => next,
                () = &mut late => break,
                () = shared.stopping.cancelled() => break,
            },
        };
        match next {
            Ok(Some(delivery)) => batch.push(delivery),
            Ok(None) | Err(_) => break,
        }
    }
    batch
}

/// Works on a batch from admission to settlement.
pub(crate) async fn process_batch<D: Delivery>(
    shared: Arc<Shared>,
    pipeline: Arc<EndpointPipeline>,
    batch: Vec<D>,
    slot: OwnedSemaphorePermit,
) {
    let mut work = Vec::with_capacity(batch.len());
    let mut passages = Vec::new();
    for delivery in batch {
        if let Some(ending) = refused_at_the_door(&shared, &delivery) {
            let failures = delivery.failures();
            finish(&shared, delivery, &ending, failures).await;
            continue;
        }
        let incoming = incoming(&shared, &delivery);
        // Batches do not wait for each other's keys: two of them could wait for ever.
        let passage = incoming.sighting.as_ref().map(|s| shared.in_flight.try_enter(&s.key));
        match passage {
            Some(Err(_busy)) => {
                let failures = incoming.failures;
                finish(&shared, delivery, &Ending::Busy, failures).await;
            }
            Some(Ok(passage)) => {
                passages.push(passage);
                work.push((delivery, incoming));
            }
            None => work.push((delivery, incoming)),
        }
    }
    let mut groups = vec![work];
    while let Some(group) = groups.pop() {
        if !group.is_empty() {
            groups.extend(run(&shared, &pipeline, group).await);
        }
    }
    drop(passages);
    drop(slot);
}

type Group<D> = Vec<(D, Incoming)>;

/// Runs one group; answers the groups that are still to be run.
async fn run<D: Delivery>(
    shared: &Arc<Shared>,
    pipeline: &EndpointPipeline,
    mut group: Group<D>,
) -> Vec<Group<D>> {
    let mut messages = group.iter().map(|(_, incoming)| incoming.clone());
    let Some(first) = messages.next() else { return Vec::new() };
    let mut cx = Context::new(shared.clone(), first, messages.collect());
    let outcome = {
        let run = caught(pipeline.run(&mut cx));
        tokio::select! {
            biased;
            outcome = run => Some(outcome),
            () = shared.killed.cancelled() => None,
        }
    };
    let Some(outcome) = outcome else {
        cx.cancel();
        settle_all(shared, group, |_| Ending::Abandoned).await;
        return Vec::new();
    };
    let outcome = match outcome {
        Ok(()) if cx.disposition == Disposition::Open => publish_buffered(&mut cx).await,
        outcome => outcome,
    };
    if let Err(failure) = outcome {
        if group.len() > 1 {
            let rest = group.split_off(group.len() / 2);
            return vec![rest, group];
        }
        let mut failed = cx.message.clone();
        failed.failures += 1;
        shared.report(&failed, &failure);
        let mut failure = Some(failure);
        settle_all(shared, group, |_| failure.take().map_or(Ending::Abandoned, Ending::Failed))
            .await;
        return Vec::new();
    }
    match std::mem::take(&mut cx.disposition) {
        Disposition::Open => settle_all(shared, group, |_| Ending::Handled).await,
        Disposition::SettledByStore => settle_all(shared, group, |_| Ending::SettledByStore).await,
        Disposition::Unknown => settle_all(shared, group, |_| Ending::Abandoned).await,
        Disposition::Refused(refusals) => return drop_refused(shared, group, &refusals).await,
    }
    Vec::new()
}

/// A refused condition drops only its item; the others run again.
async fn drop_refused<D: Delivery>(
    shared: &Shared,
    group: Group<D>,
    refusals: &[(usize, Refusal)],
) -> Vec<Group<D>> {
    let mut rest = Vec::with_capacity(group.len());
    for (index, (delivery, incoming)) in group.into_iter().enumerate() {
        match refusals.iter().find(|(refused, _)| *refused == index) {
            Some((_, refusal)) => {
                finish(shared, delivery, &refused(*refusal), incoming.failures).await;
            }
            None => rest.push((delivery, incoming)),
        }
    }
    vec![rest]
}

/// Settles every item of a group; the answers are awaited together, so that they can share a
/// commit.
async fn settle_all<D: Delivery>(
    shared: &Shared,
    group: Group<D>,
    mut ending: impl FnMut(usize) -> Ending,
) {
    let settlements = group.into_iter().enumerate().map(|(index, (delivery, incoming))| {
        let ending = ending(index);
        async move { finish(shared, delivery, &ending, incoming.failures).await }
    });
    futures_util::future::join_all(settlements).await;
}
