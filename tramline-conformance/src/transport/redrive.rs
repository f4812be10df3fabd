//! Dead letters go back to the queue that failed, as new.

use super::dead_letters::{TIME_TO_DIE, kill, kill_for};
use crate::TransportHarness;
use crate::kit::consumer::{ack, ids_of};
use crate::kit::engine::{Failed, dead_letter};
use crate::kit::message::{
    assert_same, complete_message, copy, message, message_id, queue_name, to_queue, to_topic,
};
use crate::kit::operator::{offered, peek_dead, peeked_ids};
use crate::kit::scene::{Scene, WORK, assert_kind};
use crate::kit::time::{due_in, now, until};
use crate::kit::topology::{queues, subscribed};
use std::time::Duration;
use tramline_core::ErrorKind;
use tramline_core::dead::Reason;
use tramline_core::envelope::Envelope;
use tramline_core::filter::Filter;
use tramline_core::name::QueueRef;
use tramline_core::operate::{Redrive, Selection};
use tramline_core::topology::Rule;
use tramline_core::transport::{CopyOf, Delivery, Transport};

pub async fn a_redriven_message_starts_again_without_failures_expiry_or_topic<
    H: TransportHarness,
>(
    harness: H,
) {
    let topology = queues([WORK, "witness"]);
    let topology = subscribed(topology, WORK, "orders", [Rule::subject("#")]);
    let topology = subscribed(topology, "witness", "orders", [Rule::subject("#")]);
    let scene = Scene::with(&harness, topology).await;
    let expires_at = due_in(TIME_TO_DIE);
    let sent = Envelope { expires_at: Some(expires_at), ..complete_message() };
    let published = to_topic("orders", "orders.placed", sent.clone());
    scene.send(published).await;
    scene.send(to_queue("witness", message("end"))).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    let delivery = consumer.next().await;
    dead_letter(&scene, WORK, delivery, Reason::Permanent, Failed::again(3)).await;
    let mut witness = scene.consumer("witness", 1).await;
    ack(witness.next().await).await;
    until(expires_at).await;
    let Some(count) = redrive(&scene, Redrive::all()).await else {
        return;
    };
    assert_eq!(count, 1);

    let again = consumer.next().await;
    let as_new = Envelope { expires_at: None, ..sent };
    assert_same(again.envelope(), &as_new);
    assert_eq!(again.failures(), 0);
    ack(again).await;
    assert_dead(&scene, &[]).await;
    // A redrive through the topic would stand here before the end.
    witness.ack_all(&["end"]).await;
}

pub async fn redrive_by_id_takes_only_those<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    kill(&scene, &["a", "b", "c"]).await;
    let ids = ["c", "a", "unknown"].map(message_id);
    let Some(count) = redrive(&scene, Redrive::ids(ids)).await else {
        return;
    };
    assert_eq!(count, 2, "of a and c");
    assert_dead(&scene, &["b"]).await;
    let mut consumer = scene.consumer(WORK, 2).await;
    let mut again = ids_of(&consumer.take(2).await);
    again.sort();
    assert_eq!(again, ["a", "c"]);
}

pub async fn redrive_by_filter_takes_only_those_that_match<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    kill_for(&scene, &["a"], Reason::Permanent).await;
    kill_for(&scene, &["b"], Reason::Poison).await;
    let poisoned = Redrive {
        selection: Selection::Matching(Filter::sql("reason = 'poison'")),
        ..Redrive::all()
    };
    let Some(count) = redrive(&scene, poisoned).await else {
        return;
    };
    assert_eq!(count, 1, "of b");
    assert_dead(&scene, &["a"]).await;
    scene.consumer(WORK, 1).await.ack_all(&["b"]).await;
}

pub async fn a_dry_run_only_counts<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    kill(&scene, &["a", "b"]).await;
    let dry = Redrive { dry_run: true, ..Redrive::all() };
    let Some(count) = redrive(&scene, dry).await else {
        return;
    };
    assert_eq!(count, 2);
    assert_dead(&scene, &["a", "b"]).await;
    scene.send(to_queue(WORK, message("end"))).await;
    scene.consumer(WORK, 1).await.ack_all(&["end"]).await;
}

/// A redrive that is dropped stops between two steps, and what it has done stays.
pub async fn a_redrive_with_a_rate_takes_its_time_and_can_be_stopped<H: TransportHarness>(
    harness: H,
) {
    const RATE: u32 = 10;
    let scene = Scene::fresh(&harness).await;
    let ids: Vec<String> = (0..15).map(|number| format!("m{number:02}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    kill(&scene, &ids).await;
    let slowly = || Redrive { rate: Some(1), ..Redrive::all() };
    let stopped = tokio::time::timeout(Duration::from_millis(100), redrive(&scene, slowly()));
    if let Ok(answer) = stopped.await {
        assert_eq!(answer, None, "15 at one a second take longer");
        return;
    }
    let Some(left) = peek_dead(&scene, WORK).await else {
        return;
    };
    assert!(left.len() >= 10, "at one a second, {} of 15 are left at once", left.len());

    let began = now();
    let rated = Redrive { rate: Some(RATE), ..Redrive::all() };
    assert_eq!(redrive(&scene, rated).await, Some(left.len() as u64), "those that were left");
    // Ten may go at once; the others must not go in the same second.
    if left.len() > RATE as usize {
        let took = now().since(began);
        assert!(took >= Duration::from_millis(900), "more than {RATE} a second: {took:?}");
    }
    assert_dead(&scene, &[]).await;
    let mut consumer = scene.consumer(WORK, 15).await;
    let mut again = ids_of(&consumer.take(15).await);
    again.sort();
    assert_eq!(again, ids);
}

/// It would never end.
pub async fn a_redrive_at_no_rate_at_all_is_refused<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    kill(&scene, &["a"]).await;
    let Some(operator) = scene.transport.operate() else { return };
    let never = Redrive { rate: Some(0), ..Redrive::all() };
    let Err(error) = operator.redrive(&queue_name(WORK), never).await else {
        panic!("expected a rate of 0 to be refused");
    };
    if error.kind() != ErrorKind::Unsupported {
        assert_kind(&error, ErrorKind::Misconfigured);
    }
    assert_dead(&scene, &["a"]).await;
}

/// The engine redrives by copy where the broker cannot.
pub async fn a_redrive_copy_starts_again_without_failures<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    kill(&scene, &["a"]).await;
    let dead = scene.undertaker(WORK).await.next_is("a").await;
    let main = QueueRef::Main(queue_name(WORK));
    let back = copy(main, dead.envelope(), CopyOf::Redrive);
    scene.send(back).await;
    ack(dead).await;

    let again = scene.consumer(WORK, 1).await.next_is("a").await;
    assert_same(again.envelope(), &message("a"));
    assert_eq!(again.failures(), 0);
    ack(again).await;
}

/// How many were redriven; `None` where the transport leaves that to the engine.
async fn redrive<T: Transport>(scene: &Scene<T>, what: Redrive) -> Option<u64> {
    let operator = scene.transport.operate()?;
    offered(operator.redrive(&queue_name(WORK), what).await)
}

/// Asserts which dead letters are left, if the transport lets one look.
async fn assert_dead<T: Transport>(scene: &Scene<T>, ids: &[&str]) {
    if let Some(peeked) = peek_dead(scene, WORK).await {
        assert_eq!(peeked_ids(&peeked), ids, "which dead letters are left");
    }
}
