//! How a delivery ends: acked, returned, or dropped.

use crate::TransportHarness;
use crate::kit::consumer::{ack, settle};
use crate::kit::message::{assert_same, message, messages, to_queue};
use crate::kit::scene::{Scene, Taken, WORK};
use tramline_core::capabilities::DeliveryCount;
use tramline_core::settlement::Settlement;
use tramline_core::transport::{Delivery, Transport};

pub async fn an_acked_message_is_gone<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let other = scene.other(&harness).await;
    scene.send_all(&messages(WORK, ["a", "b"])).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    ack(consumer.next_is("a").await).await;
    drop(consumer);

    // A queue that still had `a` would hand it out before `b`.
    other.consumer(WORK, 1).await.ack_all(&["b"]).await;
}

pub async fn a_returned_message_comes_back_at_once_and_uncharged<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let sent = message("a");
    scene.send(to_queue(WORK, sent.clone())).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    for _ in 0..3 {
        let delivery = consumer.next_is("a").await;
        assert_same(delivery.envelope(), &sent);
        assert_eq!(delivery.failures(), 0, "a return charges nothing");
        assert_eq!(delivery.history(), [], "a return charges nothing");
        assert_counted_once(&scene, &delivery, "what was returned does not count");
        settle(delivery, Settlement::Return).await;
    }
    consumer.ack_all(&["a"]).await;
}

pub async fn a_dropped_delivery_comes_back<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    scene.send(to_queue(WORK, message("a"))).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    drop(consumer.next_is("a").await);

    let again = consumer.next_is("a").await;
    assert_eq!(again.failures(), 0, "a dropped delivery charges nothing");
    assert_counted_once(&scene, &again, "what a living process dropped does not count");
    ack(again).await;
}

/// Asserts that this is the only delivery of whose end nobody heard, if that is counted.
fn assert_counted_once<T: Transport>(scene: &Scene<T>, delivery: &Taken<T>, why: &str) {
    let deliveries = delivery.deliveries();
    match scene.can(WORK).deliveries {
        DeliveryCount::No => assert_eq!(deliveries, None, "a count that nobody keeps"),
        // What came back may count.
        DeliveryCount::Raw => assert!(deliveries >= Some(1), "counts this one: {deliveries:?}"),
        DeliveryCount::Unheard => assert_eq!(deliveries, Some(1), "{why}"),
    }
}
