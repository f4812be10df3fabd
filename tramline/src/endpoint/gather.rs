//! Batches: gathered, run as one, halved when they fail.

use crate::caught::caught;
use crate::endpoint::process::{EndpointPipeline, Past, enter, finish, publish_buffered, refused};
use crate::endpoint::settlement::Ending;
use crate::endpoint::shared::Shared;
use crate::pipeline::{Context, Disposition, Incoming, Outcome, Step};
use futures_util::FutureExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tramline_core::store::Refusal;
use tramline_core::transport::{Delivery, Receiver};
use tramline_core::{Error, Result};

/// How large a batch may be, and how long it waits for more when it is not full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gathering {
    pub(crate) size_max: usize,
    pub(crate) wait: Duration,
}

/// What was gathered.
pub(crate) struct Gathered<D> {
    pub(crate) batch: Vec<D>,
    /// The receiver is of no use any more; what it delivered is.
    pub(crate) error: Option<Error>,
}

/// A batch that begins with `first`: what is there at once, and what comes within the wait.
pub(crate) async fn gather<R: Receiver>(
    shared: &Shared,
    receiver: &mut R,
    first: R::Delivery,
    gathering: Gathering,
) -> Gathered<R::Delivery> {
    let mut batch = vec![first];
    let clock = &shared.surroundings.composer.clock;
    let mut late = clock.sleep_until(clock.now().after(gathering.wait));
    while batch.len() < gathering.size_max {
        // Unconstrained: else a full queue would seem empty when the task's budget is spent. The
        // batch is bounded, and its task yields when it is full.
        let at_once = tokio::task::coop::unconstrained(receiver.next()).now_or_never();
        let next: Result<Option<R::Delivery>> = match at_once {
            Some(next) => next,
            None if gathering.wait.is_zero() => break,
            None => tokio::select! {
                biased;
                next = receiver.next() => next,
                () = &mut late => break,
                () = shared.surroundings.stopping.cancelled() => break,
            },
        };
        match next {
            Ok(Some(delivery)) => batch.push(delivery),
            Ok(None) => break,
            Err(error) => return Gathered { batch, error: Some(error) },
        }
    }
    Gathered { batch, error: None }
}

/// Works on a batch from admission to settlement.
pub(crate) async fn process_batch<D: Delivery>(
    shared: Arc<Shared>,
    pipeline: Arc<EndpointPipeline>,
    batch: Vec<D>,
    slot: OwnedSemaphorePermit,
) {
    let mut work = Vec::with_capacity(batch.len());
    let mut turned_away = Vec::new();
    let mut passages = Vec::new();
    for delivery in batch {
        let incoming = match enter(&shared, &delivery) {
            Ok(incoming) => incoming,
            Err(ending) => {
                turned_away.push((delivery, ending));
                continue;
            }
        };
        // Batches do not wait for each other's keys: two of them could wait for ever.
        let passage = incoming.sighting.as_ref().map(|s| shared.in_flight.try_enter(&s.key));
        match passage {
            Some(Err(_busy)) => turned_away.push((delivery, Ending::Busy)),
            Some(Ok(passage)) => {
                passages.push(passage);
                work.push((delivery, incoming));
            }
            None => work.push((delivery, incoming)),
        }
    }
    finish_all(&shared, turned_away).await;
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
    let mut cx = Context::of_batch(shared.surroundings.clone(), first, messages.collect());
    let outcome = if shared.surroundings.killed.is_cancelled() {
        None
    } else {
        let run = run_and_publish(shared, pipeline, &mut cx);
        tokio::select! {
            biased;
            outcome = run => Some(outcome),
            () = shared.surroundings.killed.cancelled() => None,
        }
    };
    let Some(outcome) = outcome else {
        cx.end_run();
        settle_all(shared, group, || Ending::Abandoned).await;
        return Vec::new();
    };
    if let Err(failure) = outcome {
        cx.end_run();
        if group.len() > 1 {
            let rest = group.split_off(group.len() / 2);
            return vec![rest, group];
        }
        cx.report(&failure);
        let mut failure = Some(failure);
        settle_all(shared, group, || failure.take().map_or(Ending::Abandoned, Ending::Failed))
            .await;
        return Vec::new();
    }
    match std::mem::take(&mut cx.disposition) {
        Disposition::Open => settle_all(shared, group, || Ending::Handled).await,
        Disposition::SettledByStore => settle_all(shared, group, || Ending::SettledByStore).await,
        Disposition::Unknown => settle_all(shared, group, || Ending::Abandoned).await,
        Disposition::Refused(refusals) => return drop_refused(shared, group, &refusals).await,
    }
    Vec::new()
}

async fn run_and_publish(
    shared: &Shared,
    pipeline: &EndpointPipeline,
    cx: &mut Context,
) -> Outcome {
    caught(pipeline.run(cx)).await?;
    if cx.disposition == Disposition::Open { publish_buffered(shared, cx).await } else { Ok(()) }
}

/// A refused condition drops only its item; the others run again. Where the store does not say
/// which it was, all come back: to run the same again would never end.
async fn drop_refused<D: Delivery>(
    shared: &Shared,
    group: Group<D>,
    refusals: &[(usize, Refusal)],
) -> Vec<Group<D>> {
    if !refusals.iter().any(|(index, _)| *index < group.len()) {
        settle_all(shared, group, || Ending::Busy).await;
        return Vec::new();
    }
    let (mut rest, mut dropped) = (Vec::with_capacity(group.len()), Vec::new());
    for (index, (delivery, incoming)) in group.into_iter().enumerate() {
        match refusals.iter().find(|(refused, _)| *refused == index) {
            Some((_, refusal)) => dropped.push((delivery, refused(*refusal))),
            None => rest.push((delivery, incoming)),
        }
    }
    finish_all(shared, dropped).await;
    vec![rest]
}

/// Settles every item of a group alike.
async fn settle_all<D: Delivery>(
    shared: &Shared,
    group: Group<D>,
    mut ending: impl FnMut() -> Ending,
) {
    finish_all(shared, group.into_iter().map(|(delivery, _)| (delivery, ending()))).await;
}

/// Settles each as it has ended; the answers are awaited together, so that they can share a
/// commit. Batches do not retry in place, so failures are those that are recorded.
async fn finish_all<D: Delivery>(shared: &Shared, ended: impl IntoIterator<Item = (D, Ending)>) {
    let settlements = ended.into_iter().map(|(delivery, ending)| async move {
        let past = Past::of(&delivery);
        finish(shared, delivery, &ending, &past, None).await;
    });
    futures_util::future::join_all(settlements).await;
}
