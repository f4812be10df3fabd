//! An endpoint handles a message once: the row in the transaction is the guarantee.

use super::harness::{StoreHarness, Write};
use super::work::{ENDPOINT, Work, add, put};
use crate::kit::message::{message, message_id};
use crate::kit::time::{now, until};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;
use tramline_core::clock::Timestamp;
use tramline_core::envelope::Envelope;
use tramline_core::store::{Committed, Condition, Refusal, Sighting, Store};

pub async fn a_message_is_admitted_once<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let other = harness.other(&store).await;
    let first = Work::of([put("a", 1)]).provided([admit(&seen("m"))]);
    first.done(&harness, &store).await;
    for handle in [&store, &other] {
        let second = Work::of([put("a", 2)]).provided([admit(&seen("m"))]);
        let refusals = second.refused(&harness, handle).await;
        assert_eq!(refusals, [(0, Refusal::Duplicate)]);
    }
    assert_eq!(harness.read(&store, "a").await, Some(1), "the second left nothing");
}

pub async fn the_same_id_is_the_same_message_whatever_its_body<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    Work::of([]).provided([admit(&seen("m"))]).done(&harness, &store).await;
    let changed = sighting(ENDPOINT, &with_body(message("m"), "changed"));
    let refusals = Work::of([]).provided([admit(&changed)]).refused(&harness, &store).await;
    assert_eq!(refusals, [(0, Refusal::Duplicate)]);
}

pub async fn a_key_that_comes_again_is_a_duplicate_or_was_reused<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let keyed = |id, body| sighting(ENDPOINT, &with_body(with_key(message(id)), body));
    let first = keyed("m1", "ten euros");
    Work::of([]).provided([admit(&first)]).done(&harness, &store).await;
    for (sighting, expected) in [
        (keyed("m2", "ten euros"), Refusal::Duplicate),
        (keyed("m2", "ten dollars"), Refusal::KeyReused),
        (keyed("m1", "ten dollars"), Refusal::Duplicate),
    ] {
        let work = Work::of([put("a", 1)]).provided([admit(&sighting)]);
        assert_eq!(work.refused(&harness, &store).await, [(0, expected)], "{sighting:?}");
    }
    assert_eq!(harness.read(&store, "a").await, None);
}

/// Each endpoint has a copy of its own, and names are part of what a message is.
pub async fn another_endpoint_and_another_name_are_admitted<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let renamed = Envelope { name: Some("orders.placed".into()), ..message("m") };
    for sighting in [
        sighting(ENDPOINT, &message("m")),
        sighting("email", &message("m")),
        sighting(ENDPOINT, &renamed),
    ] {
        Work::of([]).provided([admit(&sighting)]).done(&harness, &store).await;
    }
}

pub async fn refusals_name_every_bad_condition_by_its_index<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    for id in ["b", "d"] {
        Work::of([]).provided([admit(&seen(id))]).done(&harness, &store).await;
    }
    let conditions = ["a", "b", "c", "d"].map(|id| admit(&seen(id)));
    let work = Work::of([put("x", 1)]).provided(conditions);
    let refusals = work.refused(&harness, &store).await;
    assert_eq!(refusals, [(1, Refusal::Duplicate), (3, Refusal::Duplicate)]);
    assert_eq!(harness.read(&store, "x").await, None, "writes are not kept");
    // Nor are the conditions that held.
    let kept = ["a", "c"].map(|id| admit(&seen(id)));
    Work::of([]).provided(kept).done(&harness, &store).await;
}

pub async fn a_failed_handler_is_not_remembered<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let fail = Write::Fail("try again".to_owned());
    Work::of([fail]).provided([admit(&seen("m"))]).failed(&harness, &store).await;
    Work::of([]).provided([admit(&seen("m"))]).done(&harness, &store).await;
}

pub async fn of_many_concurrent_sightings_exactly_one_commits<H: StoreHarness>(harness: H) {
    const RIVALS: usize = 100;
    let store = harness.fresh().await;
    let other = harness.other(&store).await;
    let (harness, stores) = (Arc::new(harness), [Arc::new(store), Arc::new(other)]);
    let mut tasks = JoinSet::new();
    for number in 0..RIVALS {
        let (harness, store) = (harness.clone(), stores[number % 2].clone());
        tasks.spawn(async move {
            let work = Work::of([add("handled", 1)]).provided([admit(&seen("m"))]);
            work.commit(&*harness, &store).await
        });
    }
    let mut done = 0;
    while let Some(ended) = tasks.join_next().await {
        match ended.expect("a commit answers, it does not panic") {
            Ok(Committed::Done) => done += 1,
            Ok(Committed::Refused(refusals)) => {
                let [(0, Refusal::Duplicate | Refusal::Busy)] = refusals[..] else {
                    panic!("expected a duplicate, or busy, at 0, got: {refusals:?}");
                };
            }
            Err(error) => panic!("expected an answer to a duplicate, got: {error}"),
        }
    }
    assert_eq!(done, 1, "of {RIVALS} rivals");
    assert_eq!(harness.read(&stores[0], "handled").await, Some(1));
}

pub async fn what_the_inbox_knows_is_told_before_the_handler_runs<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let other = harness.other(&store).await;
    let keyed = |id, body| sighting(ENDPOINT, &with_body(with_key(message(id)), body));
    let known = [admit(&seen("known")), admit(&keyed("k1", "body"))];
    Work::of([]).provided(known).done(&harness, &store).await;
    let asked = [
        seen("new"),
        seen("known"),
        keyed("k2", "another body"),
        keyed("k2", "body"),
        sighting("email", &message("known")),
    ];
    let expected =
        [None, Some(Refusal::Duplicate), Some(Refusal::KeyReused), Some(Refusal::Duplicate), None];
    for handle in [&store, &other] {
        assert_eq!(admitted(handle, &asked).await, expected);
    }
    assert_eq!(admitted(&store, &[]).await, []);
}

pub async fn pruning_forgets_old_rows_only_and_within_its_limit<H: StoreHarness>(harness: H) {
    /// Farther apart than stores round.
    const APART: Duration = Duration::from_millis(20);
    let store = harness.fresh().await;
    let old = ["a", "b", "c"].map(|id| admit(&seen(id)));
    let began = now();
    Work::of([]).provided(old).done(&harness, &store).await;
    until(now().after(APART)).await;
    let between = now();
    until(between.after(APART)).await;
    Work::of([]).provided([admit(&seen("young"))]).done(&harness, &store).await;

    assert_eq!(prune(&store, began.before(APART), 10).await, 0, "nothing is so old");
    assert_eq!(prune(&store, between, 2).await, 2, "as many as the limit");
    assert_eq!(prune(&store, between, 10).await, 1, "the last old one");
    assert_eq!(prune(&store, between, 10).await, 0, "no old one is left");
    let known = admitted(&store, &["a", "b", "c", "young"].map(seen)).await;
    assert_eq!(known, [None, None, None, Some(Refusal::Duplicate)]);
}

pub async fn a_restart_keeps_what_was_admitted<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    Work::of([]).provided([admit(&seen("m"))]).done(&harness, &store).await;
    let Some(store) = harness.restart(store).await else {
        return;
    };
    let again = Work::of([]).provided([admit(&seen("m"))]);
    assert_eq!(again.refused(&harness, &store).await, [(0, Refusal::Duplicate)]);
}

fn admit(sighting: &Sighting) -> Condition {
    Condition::Admit(sighting.clone())
}

/// How the endpoint sees a plain message.
fn seen(id: &str) -> Sighting {
    sighting(ENDPOINT, &message(id))
}

fn sighting(endpoint: &str, envelope: &Envelope) -> Sighting {
    let id = envelope.id.clone().unwrap_or_else(|| message_id("none"));
    Sighting::new(&Arc::from(endpoint), &id, envelope)
}

fn with_key(envelope: Envelope) -> Envelope {
    let idempotency_key = Some("invoice 7".to_owned());
    Envelope { idempotency_key, ..envelope }
}

fn with_body(envelope: Envelope, body: &'static str) -> Envelope {
    let body = Bytes::from_static(body.as_bytes());
    Envelope { body, ..envelope }
}

async fn admitted(store: &impl Store, sightings: &[Sighting]) -> Vec<Option<Refusal>> {
    let admitted = store.admitted(sightings).await;
    admitted.unwrap_or_else(|error| panic!("expected what the inbox knows, got: {error}"))
}

async fn prune(store: &impl Store, before: Timestamp, limit: u32) -> u64 {
    let pruned = store.prune_inbox(ENDPOINT, before, limit).await;
    pruned.unwrap_or_else(|error| panic!("expected to prune the inbox, got: {error}"))
}
