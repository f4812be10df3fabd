//! The work on a batch: run as one, halved when it fails, and parted where its handler says how each has ended.

use crate::at_work::{Watch, cancelled, is_cancellation};
use crate::caught::caught;
use crate::endpoint::in_flight::Passage;
use crate::endpoint::placed::Placed;
use crate::endpoint::process::{
    EndpointPipeline, Past, enter, finish, known_already, publish_buffered, refused, worth_asking,
};
use crate::endpoint::settlement::Ending;
use crate::endpoint::shared::Shared;
use crate::endpoint::suspects::{begin_trial, is_suspect};
use crate::pipeline::{Context, Disposition, Incoming, Outcome, Step, Trial};
use crate::{Failure, MessageId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tramline_core::store::Refusal;
use tramline_core::transport::Delivery;

/// Works on a batch from admission to settlement. Who may kill the process is a batch of its own,
/// after the others.
pub(crate) async fn process_batch<D: Delivery>(
    shared: Arc<Shared>,
    pipeline: Arc<EndpointPipeline>,
    batch: Vec<Placed<D>>,
    slot: OwnedSemaphorePermit,
) {
    let mut entered = Group::with_capacity(batch.len());
    let mut turned_away = Vec::new();
    let mut suspects = Vec::new();
    for delivery in batch {
        match enter(&shared, &delivery) {
            Ok(incoming) if is_suspect(&shared, &delivery) => suspects.push((delivery, incoming)),
            Ok(incoming) => entered.push(Member::of(delivery, incoming)),
            Err(ending) => turned_away.push((delivery, ending)),
        }
    }
    let mut entered = without_duplicates(entered);
    let passages = admit_group(&shared, &mut entered, &mut turned_away).await;
    finish_all(
        &shared,
        turned_away.into_iter().map(|(delivery, ending)| {
            let past = Past::of(&delivery);
            (delivery, past, ending)
        }),
    )
    .await;
    run_all(&shared, &pipeline, entered).await;
    drop(passages);
    for (delivery, incoming) in suspects {
        try_alone(&shared, &pipeline, delivery, incoming).await;
    }
    drop(slot);
}

/// Leaves in `group` what nobody else is at work on and no inbox knows; the rest is turned away.
async fn admit_group<D: Delivery>(
    shared: &Shared,
    group: &mut Group<D>,
    turned_away: &mut Vec<(Placed<D>, Ending)>,
) -> Vec<Passage> {
    let mut passages = Vec::new();
    let mut free = Vec::with_capacity(group.len());
    for member in group.drain(..) {
        // Batches do not wait for each other's keys: two of them could wait for ever.
        let sighting = member.incoming.sighting.as_ref();
        match sighting.map(|sighting| shared.in_flight.try_enter(&sighting.key)) {
            Some(Err(_busy)) => turned_away.extend(member.turned_away(Ending::Busy)),
            Some(Ok(passage)) => {
                passages.push(passage);
                free.push(member);
            }
            None => free.push(member),
        }
    }
    let asked = |member: &Member<D>| {
        let sighting = member.incoming.sighting.as_ref();
        sighting.filter(|sighting| worth_asking(shared, &member.delivery, sighting)).cloned()
    };
    let sightings: Vec<_> = free.iter().filter_map(asked).collect();
    let mut known = known_already(shared, &sightings).await.into_iter();
    for member in free {
        let ending = asked(&member).and_then(|_| known.next().flatten());
        match ending {
            Some(ending) => turned_away.extend(member.turned_away(ending)),
            None => group.push(member),
        }
    }
    passages
}

/// Runs `group`, and what becomes of it when it is halved.
async fn run_all<D: Delivery>(shared: &Arc<Shared>, pipeline: &EndpointPipeline, group: Group<D>) {
    let mut groups = vec![group];
    while let Some(group) = groups.pop() {
        if !group.is_empty() {
            groups.extend(run(shared, pipeline, group).await);
        }
    }
}

/// A batch of one, while nothing else runs in this process.
async fn try_alone<D: Delivery>(
    shared: &Arc<Shared>,
    pipeline: &EndpointPipeline,
    mut delivery: Placed<D>,
    incoming: Incoming,
) {
    match begin_trial(shared, &mut delivery, &incoming).await {
        Ok((_passage, trial)) => {
            let member = Member { trial: Some(trial), ..Member::of(delivery, incoming) };
            run_all(shared, pipeline, vec![member]).await;
        }
        Err(ending) => {
            let past = Past::of(&delivery);
            finish_all(shared, [(delivery, past, ending)]).await;
        }
    }
}

/// One message of a batch.
struct Member<D: Delivery> {
    delivery: Placed<D>,
    incoming: Incoming,
    /// Set if it is handled alone.
    trial: Option<Trial>,
    /// It stays away for so long at least.
    pause_min: Duration,
    /// The same message, sent or delivered once more: no handler sees these.
    copies: Vec<Placed<D>>,
}

type Group<D> = Vec<Member<D>>;

impl<D: Delivery> Member<D> {
    fn of(delivery: Placed<D>, incoming: Incoming) -> Self {
        let (pause_min, copies) = (Duration::ZERO, Vec::new());
        Self { delivery, incoming, trial: None, pause_min, copies }
    }

    /// Under which it and its copies are known.
    fn ids(&self) -> impl Iterator<Item = &MessageId> {
        let copies = self.copies.iter().filter_map(|copy| copy.envelope().id.as_ref());
        self.incoming.envelope.id.iter().chain(copies)
    }

    /// It and its copies, none of which is handled.
    fn turned_away(self, ending: Ending) -> impl Iterator<Item = (Placed<D>, Ending)> {
        let copies: Vec<_> = self.copies.into_iter().map(|copy| (copy, of_copy(&ending))).collect();
        copies.into_iter().chain([(self.delivery, ending)])
    }
}

/// How a copy ends of a message that has ended so. Nothing is said of it before the effects are durable; a process
/// that dies in between gets it again, as it does when the first is not acked.
fn of_copy(ending: &Ending) -> Ending {
    match ending {
        Ending::Handled | Ending::SettledByStore | Ending::Duplicate => Ending::Duplicate,
        Ending::KeyReused => Ending::KeyReused,
        Ending::Abandoned => Ending::Abandoned,
        Ending::Shut => Ending::Shut,
        // To run is what it must not.
        Ending::Failed(failure) if is_cancellation(failure) => Ending::Failed(cancelled()),
        // It is its own turn then, uncharged.
        _ => Ending::Busy,
    }
}

/// Puts messages that are known by the same, and are the same, to the first of them.
fn without_duplicates<D: Delivery>(group: Group<D>) -> Group<D> {
    let firsts = firsts(&group);
    if firsts.iter().enumerate().all(|(index, first)| index == *first) {
        return group;
    }
    let mut places: Vec<usize> = Vec::with_capacity(group.len());
    let mut kept: Group<D> = Vec::with_capacity(group.len());
    for (index, member) in group.into_iter().enumerate() {
        match firsts[index] {
            first if first == index => {
                places.push(kept.len());
                kept.push(member);
            }
            first => {
                places.push(places[first]);
                kept[places[first]].copies.push(member.delivery);
            }
        }
    }
    kept
}

/// Where the first stands of those that are the same message, for each.
fn firsts<D: Delivery>(group: &Group<D>) -> Vec<usize> {
    let mut firsts = HashMap::with_capacity(group.len());
    let mut found = Vec::with_capacity(group.len());
    for (index, Member { incoming, .. }) in group.iter().enumerate() {
        let name = incoming.envelope.name.as_deref().unwrap_or_default();
        let key = incoming.envelope.idempotency_key.as_deref().ok_or(&incoming.id);
        let first = *firsts.entry((name, key)).or_insert(index);
        let other = &group[first].incoming;
        // An inbox knows by the id alone. Without one nobody does, and nothing is dropped unseen that could differ.
        // A key that was used again for another message is for the inbox to tell of.
        let is_known_by_id = incoming.sighting.is_some() && other.id == incoming.id;
        let same = is_known_by_id || other.envelope.body == incoming.envelope.body;
        found.push(if same { first } else { index });
    }
    found
}

/// Runs one group; answers the groups that are still to be run.
async fn run<D: Delivery>(
    shared: &Arc<Shared>,
    pipeline: &EndpointPipeline,
    mut group: Group<D>,
) -> Vec<Group<D>> {
    let mut messages = group.iter().map(|member| member.incoming.clone());
    let Some(first) = messages.next() else { return Vec::new() };
    let mut cx = Context::of_batch(shared.surroundings.clone(), first, messages.collect());
    cx.trial = group.iter().find_map(|member| member.trial.clone());
    cx.permit = group.iter_mut().find_map(|member| member.delivery.take_permit());
    let ids = || group.iter().flat_map(Member::ids).cloned().collect();
    let watch = Watch::over(&shared.surroundings, ids);
    let outcome = if shared.surroundings.begins_nothing() {
        None
    } else {
        let run = run_and_publish(shared, pipeline, &mut cx);
        tokio::select! {
            biased;
            outcome = run => Some(outcome),
            () = shared.surroundings.killed.cancelled() => None,
            () = watch.grace_is_over() => Some(Err(cancelled())),
        }
    };
    let mut cancelled_ids = watch.end();
    cancelled_ids.extend(cx.end_cancelling());
    let is_cancelled = |member: &Member<D>| member.ids().any(|id| cancelled_ids.contains(id));
    let Some(outcome) = outcome else {
        cx.end_run();
        settle_all(shared, group, || Ending::Abandoned).await;
        return Vec::new();
    };
    if let Err(failure) = outcome {
        cx.end_run();
        if shared.surroundings.stopping.heed_failure(&failure) {
            cx.report(&failure);
            settle_all(shared, group, || Ending::Abandoned).await;
            return Vec::new();
        }
        if !cancelled_ids.is_empty() {
            // It may have failed for that: those that are not cancelled begin anew.
            return vec![part(shared, group, BTreeMap::new(), is_cancelled).await];
        }
        if group.len() > 1 {
            let rest = group.split_off(group.len() / 2);
            return vec![rest, group];
        }
        cx.report(&failure);
        group.iter_mut().for_each(|member| member.pause_min = cx.pause_min);
        let mut failure = Some(failure);
        settle_all(shared, group, || failure.take().map_or(Ending::Abandoned, Ending::Failed))
            .await;
        return Vec::new();
    }
    let mut failures = std::mem::take(&mut cx.item_failures);
    for (index, failure) in &mut failures {
        // It may have failed for that, and is not tried again.
        if group.get(*index).is_some_and(is_cancelled) {
            *failure = cancelled();
        }
    }
    match std::mem::take(&mut cx.disposition) {
        Disposition::Open if !failures.is_empty() => {
            let handled = part(shared, group, failures, |_| false).await;
            settle_all(shared, handled, || Ending::Handled).await;
        }
        Disposition::RolledBack => {
            return vec![part(shared, group, failures, is_cancelled).await];
        }
        Disposition::Open => settle_all(shared, group, || Ending::Handled).await,
        Disposition::SettledByStore => settle_all(shared, group, || Ending::SettledByStore).await,
        Disposition::Unknown | Disposition::Away => {
            settle_all(shared, group, || Ending::Unanswered).await;
        }
        Disposition::Shut => settle_all(shared, group, || Ending::Shut).await,
        Disposition::ProbeFailed(after) => {
            let group = part(shared, group, BTreeMap::new(), is_cancelled).await;
            settle_all(shared, group, || Ending::ProbeFailed(after)).await;
        }
        Disposition::Refused(_) | Disposition::Expired if !cancelled_ids.is_empty() => {
            // Nothing is in. What else is wrong is found again.
            return vec![part(shared, group, BTreeMap::new(), is_cancelled).await];
        }
        Disposition::Refused(refusals) => return drop_refused(shared, group, &refusals).await,
        Disposition::Expired => return drop_expired(shared, group).await,
    }
    Vec::new()
}

async fn run_and_publish(
    shared: &Shared,
    pipeline: &EndpointPipeline,
    cx: &mut Context,
) -> Outcome {
    caught(pipeline.run(cx)).await?;
    let outdated = |failure: &Failure| shared.surroundings.stopping.heed_failure(failure);
    if let Some(item) = cx.item_failures.iter().find(|(_, failure)| outdated(failure)) {
        let item = *item.0;
        return cx.item_failures.remove(&item).map_or(Ok(()), Err);
    }
    if cx.disposition == Disposition::Open { publish_buffered(shared, cx).await } else { Ok(()) }
}

/// Settles those that have failed by what their handler has answered, each as if it had been alone, and those that are
/// cancelled; answers the others.
async fn part<D: Delivery>(
    shared: &Shared,
    group: Group<D>,
    mut failures: BTreeMap<usize, Failure>,
    is_cancelled: impl Fn(&Member<D>) -> bool,
) -> Group<D> {
    let (mut rest, mut failed) = (Vec::with_capacity(group.len()), Vec::new());
    for (index, member) in group.into_iter().enumerate() {
        let failure = failures.remove(&index);
        match if is_cancelled(&member) { Some(cancelled()) } else { failure } {
            Some(failure) => {
                shared.surroundings.report(&member.incoming, &failure);
                failed.push((member, Ending::Failed(failure)));
            }
            None => rest.push(member),
        }
    }
    finish_members(shared, failed).await;
    rest
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
    for (index, member) in group.into_iter().enumerate() {
        match refusals.iter().find(|(refused, _)| *refused == index) {
            Some((_, refusal)) => dropped.push((member, refused(*refusal))),
            None => rest.push(member),
        }
    }
    finish_members(shared, dropped).await;
    vec![rest]
}

/// What has expired while the batch was gathered, or waited for its turn, drops out; the others run.
async fn drop_expired<D: Delivery>(shared: &Shared, group: Group<D>) -> Vec<Group<D>> {
    let now = shared.now();
    let is_late = |member: &Member<D>| member.incoming.envelope.is_expired(now);
    let (late, rest): (Group<D>, Group<D>) = group.into_iter().partition(is_late);
    finish_members(shared, late.into_iter().map(|member| (member, Ending::Expired))).await;
    vec![rest]
}

/// Settles every item of a group alike.
async fn settle_all<D: Delivery>(
    shared: &Shared,
    group: Group<D>,
    mut ending: impl FnMut() -> Ending,
) {
    finish_members(shared, group.into_iter().map(|member| (member, ending()))).await;
}

async fn finish_members<D: Delivery>(
    shared: &Shared,
    ended: impl IntoIterator<Item = (Member<D>, Ending)>,
) {
    let ended = ended.into_iter().flat_map(|(member, ending)| {
        let copies = member.copies.into_iter().map(|copy| (Past::of(&copy), copy));
        let copies: Vec<_> = copies.map(|(past, copy)| (copy, past, of_copy(&ending))).collect();
        let past = Past::of(&member.delivery).with(member.trial, member.pause_min);
        std::iter::once((member.delivery, past, ending)).chain(copies)
    });
    finish_all(shared, ended).await;
}

/// Settles each as it has ended; the answers are awaited together, so that they can share a
/// commit. Batches do not retry in place, so failures are those that are recorded.
async fn finish_all<D: Delivery>(
    shared: &Shared,
    ended: impl IntoIterator<Item = (Placed<D>, Past, Ending)>,
) {
    let settlements = ended.into_iter().map(|(delivery, past, ending)| async move {
        finish(shared, delivery, &ending, past, None).await;
    });
    futures_util::future::join_all(settlements).await;
}
