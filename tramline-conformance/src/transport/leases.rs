//! What a process held comes back when it hangs, dies or leaves, and only then.

use crate::TransportHarness;
use crate::kit::consumer::{ack, ids_of};
use crate::kit::message::{assert_same, message, messages, queue_name, to_queue};
use crate::kit::scene::{Scene, WORK};
use crate::kit::time::within;
use crate::kit::topology::queues;
use std::time::Duration;
use tramline_core::capabilities::Capabilities;
use tramline_core::dead::Reason;
use tramline_core::settlement::{Marks, Settled, Settlement};
use tramline_core::transport::{Delivery, Transport};

pub async fn a_lost_lease_is_told_and_its_message_goes_to_another<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let other = scene.other(&harness).await;
    let sent = message("a");
    scene.send(to_queue(WORK, sent.clone())).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    let held = consumer.next_is("a").await;
    assert!(consumer.stop().await.is_empty(), "only one was sent");
    let early = tokio::time::timeout(Duration::ZERO, held.lost()).await;
    assert!(early.is_err(), "the lease is held");

    harness.end_leases(&scene.transport, &queue_name(WORK)).await;
    let another = other.consumer(WORK, 1).await.next_is("a").await;
    assert_same(another.envelope(), &sent);
    assert_eq!(another.failures(), 0, "a lost lease charges nothing");
    let counted = scene.can(WORK).deliveries.is_kept().then_some(2);
    assert_eq!(another.deliveries(), counted, "the lost one counts");
    let patience = harness.patience();
    within(patience, "the holder to be told that its lease is lost", held.lost()).await;
    ack(another).await;
}

pub async fn whoever_settles_after_the_lease_learns_that_it_is_lost<H: TransportHarness>(
    harness: H,
) {
    let retry = Settlement::Retry {
        after: Duration::ZERO,
        failures: 1,
        notes: Vec::new(),
        marks: Marks::default(),
    };
    let dead = Settlement::DeadLetter { reason: Reason::Permanent, failures: 1, notes: Vec::new() };
    for how in [Settlement::Ack, Settlement::Return, retry, dead] {
        let scene = Scene::fresh(&harness).await;
        if !offers(&scene.can(WORK), &how) {
            continue;
        }
        let other = scene.other(&harness).await;
        scene.send(to_queue(WORK, message("a"))).await;
        let mut consumer = scene.consumer(WORK, 1).await;
        let held = consumer.next_is("a").await;
        consumer.stop().await;
        harness.end_leases(&scene.transport, &queue_name(WORK)).await;
        let mut elsewhere = other.consumer(WORK, 1).await;
        let another = elsewhere.next_is("a").await;

        let settled = held.settle(how.clone()).await;
        let settled = settled.unwrap_or_else(|error| panic!("{how:?} after the lease: {error}"));
        assert_eq!(settled, Settled::LeaseLost, "{how:?} after the lease");
        // The late settlement did not touch what another holds by now.
        assert_eq!(another.failures(), 0);
        ack(another).await;
        scene.send(to_queue(WORK, message("b"))).await;
        elsewhere.ack_all(&["b"]).await;
    }
}

pub async fn what_a_dropped_receiver_had_prefetched_goes_to_another<H: TransportHarness>(
    harness: H,
) {
    let scene = Scene::fresh(&harness).await;
    let other = scene.other(&harness).await;
    scene.send_all(&messages(WORK, ["a", "b", "c"])).await;
    let mut consumer = scene.consumer(WORK, 3).await;
    let held = consumer.next_is("a").await;
    drop(consumer);

    let mut rest = ids_of(&other.consumer(WORK, 3).await.take(2).await);
    rest.sort();
    assert_eq!(rest, ["b", "c"]);
    // What was delivered before is still held, and can be settled.
    ack(held).await;
}

pub async fn a_closed_transport_gives_back_what_it_held<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let other = scene.other(&harness).await;
    scene.send_all(&messages(WORK, ["a", "b"])).await;
    let mut consumer = scene.consumer(WORK, 2).await;
    let held = consumer.take(2).await;
    let closed = scene.transport.close(scene.deadline()).await;
    closed.unwrap_or_else(|error| panic!("expected to close, got: {error}"));

    let mut back = ids_of(&other.consumer(WORK, 2).await.take(2).await);
    back.sort();
    assert_eq!(back, ["a", "b"]);
    drop(held);
}

/// Durable means: what was accepted is there after a restart, and what was settled is not.
pub async fn a_restart_keeps_what_was_not_settled_and_nothing_else<H: TransportHarness>(
    harness: H,
) {
    let scene = Scene::fresh(&harness).await;
    let patience = scene.patience;
    let ids = ["acked", "held", "ready"];
    scene.send_all(&messages(WORK, ids)).await;
    let mut consumer = scene.consumer(WORK, 2).await;
    ack(consumer.next_is("acked").await).await;
    let held = consumer.next_is("held").await;
    drop((held, consumer));
    let Some(transport) = harness.restart(scene.into_transport()).await else {
        return;
    };
    let mut scene = Scene::on(transport, patience).await;
    scene.declare(queues([WORK])).await;
    let mut back = ids_of(&scene.consumer(WORK, 2).await.take(2).await);
    back.sort();
    assert_eq!(back, ["held", "ready"]);
}

fn offers(can: &Capabilities, how: &Settlement) -> bool {
    match how {
        Settlement::Ack | Settlement::Return => true,
        Settlement::Retry { .. } => can.delayed_retry.is_native(),
        Settlement::DeadLetter { .. } => can.dead_letter.is_native(),
    }
}
