//! The ack is part of the transaction, where store and transport share a database.

use super::harness::{StoreHarness, Write};
use super::work::{ENDPOINT, Work, outside, put, shared};
use crate::kit::consumer::{ack, settle};
use crate::kit::message::{keyed, message, messages, to_queue};
use crate::kit::operator::{Expected, assert_depth};
use crate::kit::scene::{Scene, WORK};
use crate::kit::topology::plain;
use std::sync::Arc;
use tramline_core::compose::Publishing;
use tramline_core::settlement::{Settled, Settlement};
use tramline_core::store::{Condition, Refusal, Sighting};
use tramline_core::topology::{QueueSpec, Topology};
use tramline_core::transport::{Delivery, Ticket, Transport};

pub async fn an_ack_in_a_transaction_ends_the_delivery<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let Some(scene) = shared(&harness, &store).await else {
        return;
    };
    scene.send_all(&messages(WORK, ["a", "b"])).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    let delivery = consumer.next_is("a").await;
    let work = Work::of([put("x", 1)]).provided([ticket_of(&delivery)]);
    work.done(&harness, &store).await;
    delivery.settled_by_store();
    assert_eq!(harness.read(&store, "x").await, Some(1));

    // The slot is free, and the message is gone.
    let next = consumer.next_is("b").await;
    let held = Expected { leased: 1, ..Expected::default() };
    assert_depth(&scene, WORK, held, "after a was acked by the store").await;
    ack(next).await;
}

pub async fn a_ticket_is_good_for_one_ack<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let Some(scene) = shared(&harness, &store).await else {
        return;
    };
    scene.send(to_queue(WORK, message("a"))).await;
    let delivery = scene.consumer(WORK, 1).await.next_is("a").await;
    let ticket = ticket_of(&delivery);
    Work::of([put("x", 1)]).provided([ticket.clone()]).done(&harness, &store).await;
    delivery.settled_by_store();
    let late = Work::of([put("x", 2)]).provided([ticket]);
    assert_eq!(late.refused(&harness, &store).await, [(0, Refusal::LeaseLost)]);
    assert_eq!(harness.read(&store, "x").await, Some(1), "the late one left nothing");
}

pub async fn a_ticket_of_an_earlier_delivery_is_lost<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let Some(scene) = shared(&harness, &store).await else {
        return;
    };
    scene.send(to_queue(WORK, message("a"))).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    let first = consumer.next_is("a").await;
    let stale = ticket_of(&first);
    settle(first, Settlement::Return).await;
    let second = consumer.next_is("a").await;

    let late = Work::of([put("x", 1)]).provided([stale]);
    assert_eq!(late.refused(&harness, &store).await, [(0, Refusal::LeaseLost)]);
    assert_eq!(harness.read(&store, "x").await, None);
    Work::of([put("x", 2)]).provided([ticket_of(&second)]).done(&harness, &store).await;
    second.settled_by_store();
}

/// A duplicate is acked by the engine after its transaction was refused.
pub async fn a_refused_transaction_leaves_the_delivery_as_it_was<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let Some(scene) = shared(&harness, &store).await else {
        return;
    };
    scene.send(to_queue(WORK, message("a"))).await;
    let delivery = scene.consumer(WORK, 1).await.next_is("a").await;
    Work::of([]).provided([seen(&delivery)]).done(&harness, &store).await;
    let conditions = [ticket_of(&delivery), seen(&delivery)];
    let again = Work::of([put("x", 1)]).provided(conditions);
    assert_eq!(again.refused(&harness, &store).await, [(1, Refusal::Duplicate)]);

    let settled = delivery.settle(Settlement::Ack).await;
    let settled = settled.unwrap_or_else(|error| panic!("expected to ack, got: {error}"));
    assert_eq!(settled, Settled::Done, "the delivery is still ours");
}

pub async fn a_failed_transaction_leaves_the_delivery_as_it_was<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let Some(scene) = shared(&harness, &store).await else {
        return;
    };
    scene.send(to_queue(WORK, message("a"))).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    let delivery = consumer.next_is("a").await;
    let failing = Work::of([put("x", 1), Write::Fail("no".to_owned())]);
    failing.provided([ticket_of(&delivery)]).failed(&harness, &store).await;
    settle(delivery, Settlement::Return).await;
    consumer.ack_all(&["a"]).await;
}

/// Of what it sends under the key it has just freed, one is let in.
pub async fn what_is_acked_in_a_transaction_frees_its_key_for_what_is_sent_in_it<
    H: StoreHarness,
>(
    harness: H,
) {
    const ONE: &str = "one-of-a-key";
    let store = harness.fresh().await;
    let Some(mut scene) = shared(&harness, &store).await else {
        return;
    };
    let one = QueueSpec { unique: true, ..plain(ONE) };
    scene.declare(Topology { queues: vec![plain(WORK), one], ..Topology::default() }).await;
    scene.send_all(&["a1", "b1"].map(|id| to_queue(ONE, keyed(id)))).await;
    let mut consumer = scene.consumer(ONE, 2).await;
    let [first, other] = consumer.next_are(&["a1", "b1"]).await.try_into().ok().expect("both");
    let again = ["a2", "a3", "b2"].map(|id| to_queue(ONE, keyed(id)));
    let work = Work::of([])
        .under(outside(Publishing::Queues))
        .provided([ticket_of(&first)])
        .buffering(again);
    work.done(&harness, &store).await;
    first.settled_by_store();
    ack(other).await;
    consumer.ack_all(&["a2"]).await;
    assert_depth(&scene, ONE, Expected::default(), "at the end").await;
}

/// A batch is acked as one: a bad ticket in it is named, and the others stay good.
pub async fn several_acks_commit_together_or_the_bad_ones_are_named<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let Some(scene) = shared(&harness, &store).await else {
        return;
    };
    scene.send_all(&messages(WORK, ["a", "b", "c"])).await;
    let mut consumer = scene.consumer(WORK, 3).await;
    let mut deliveries = consumer.next_are(&["a", "b", "c"]).await;
    let tickets: Vec<Condition> = deliveries.iter().map(ticket_of).collect();
    ack(deliveries.remove(1)).await;
    let all = Work::of([put("x", 1)]).provided(tickets.clone());
    assert_eq!(all.refused(&harness, &store).await, [(1, Refusal::LeaseLost)]);

    let good = [tickets[0].clone(), tickets[2].clone()];
    Work::of([put("x", 2)]).provided(good).done(&harness, &store).await;
    deliveries.into_iter().for_each(Delivery::settled_by_store);
    assert_empty(&scene).await;
}

fn ticket_of(delivery: &impl Delivery) -> Condition {
    Condition::Ack(ticket(delivery))
}

fn ticket(delivery: &impl Delivery) -> Ticket {
    delivery.ticket().expect("a transport on the store's database gives tickets")
}

fn seen(delivery: &impl Delivery) -> Condition {
    let envelope = delivery.envelope();
    let id = envelope.id.as_ref().expect("the message was sent with an id");
    Condition::Admit(Sighting::new(&Arc::from(ENDPOINT), id, envelope))
}

/// Asserts that nothing is left in the queue.
async fn assert_empty<T: Transport>(scene: &Scene<T>) {
    scene.send(to_queue(WORK, message("end"))).await;
    scene.consumer(WORK, 1).await.ack_all(&["end"]).await;
    assert_depth(scene, WORK, Expected::default(), "at the end").await;
}
