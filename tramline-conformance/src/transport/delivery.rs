//! What is sent arrives: once, whole, in order, and at every handle on the broker.

use crate::TransportHarness;
use crate::kit::consumer::{ack, id_of, ids_of};
use crate::kit::message::{
    assert_same, complete_message, message, messages, to_queue, to_topic, typed_headers,
};
use crate::kit::scene::{Scene, WORK, assert_kind};
use crate::kit::time::within;
use crate::kit::topology::{queues, subscribed};
use bytes::Bytes;
use std::{collections::BTreeSet, time::Duration};
use tramline_core::ErrorKind;
use tramline_core::envelope::Envelope;
use tramline_core::topology::Rule;
use tramline_core::transport::Delivery;

const MIB: u64 = 1024 * 1024;

pub async fn a_message_is_delivered_as_it_was_sent<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let sent = message("a");
    scene.send(to_queue(WORK, sent.clone())).await;

    let delivery = scene.consumer(WORK, 1).await.next_is("a").await;
    assert_same(delivery.envelope(), &sent);
    assert_eq!(delivery.failures(), 0, "nothing failed yet");
    assert_eq!(delivery.history(), [], "nothing failed yet");
    assert_eq!(delivery.marks(), Default::default(), "nothing is known yet");
    ack(delivery).await;
}

pub async fn messages_are_delivered_in_the_order_in_which_they_were_sent<H: TransportHarness>(
    harness: H,
) {
    let scene = Scene::fresh(&harness).await;
    let ids: Vec<String> = (0..40).map(|n| format!("m{n:02}")).collect();
    let (one_by_one, in_a_batch) = ids.split_at(20);
    for id in one_by_one {
        scene.send(to_queue(WORK, message(id))).await;
    }
    scene.send_all(&messages(WORK, in_a_batch.iter().map(String::as_str))).await;

    let mut consumer = scene.consumer(WORK, 7).await;
    for id in &ids {
        ack(consumer.next_is(id).await).await;
    }
}

pub async fn competing_consumers_share_a_queue<H: TransportHarness>(harness: H) {
    const EACH: usize = 5;
    let scene = Scene::fresh(&harness).await;
    let other = scene.other(&harness).await;
    let ids: Vec<String> = (0..2 * EACH).map(|n| format!("m{n}")).collect();
    scene.send_all(&messages(WORK, ids.iter().map(String::as_str))).await;

    // Each can hold only half, so that both are needed and neither may get the other's.
    let mut here = scene.consumer(WORK, EACH as u32).await;
    let mut there = other.consumer(WORK, EACH as u32).await;
    let mut taken = here.take(EACH).await;
    taken.extend(there.take(EACH).await);
    let taken: BTreeSet<String> = taken.iter().map(id_of).collect();
    assert_eq!(taken, ids.into_iter().collect(), "each message goes to exactly one consumer");
}

pub async fn an_idle_consumer_is_woken_by_another_handle<H: TransportHarness>(harness: H) {
    const IDLE: Duration = Duration::from_millis(100);
    let scene = Scene::fresh(&harness).await;
    let other = scene.other(&harness).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    for id in ["a", "b", "c"] {
        let early = consumer.next_within(IDLE).await;
        assert!(early.is_none(), "nothing was sent yet");
        other.send(to_queue(WORK, message(id))).await;
        let what = format!("to be woken for {id} sooner than a slow poll would find it");
        let delivery = within(harness.patience() / 10, &what, consumer.next_is(id)).await;
        ack(delivery).await;
    }
}

/// Wake-ups are coalesced; work for two must still not be left to one.
pub async fn two_idle_consumers_are_both_woken_by_one_batch<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let other = scene.other(&harness).await;
    let mut consumers = [scene.consumer(WORK, 1).await, other.consumer(WORK, 1).await];
    for round in 0..10 {
        let ids = [format!("{round}a"), format!("{round}b")];
        let [here, there] = &mut consumers;
        let both = async {
            let batch = messages(WORK, ids.iter().map(String::as_str));
            let sending = scene.send_all(&batch);
            let (here, there, ()) = tokio::join!(here.next(), there.next(), sending);
            [here, there]
        };
        let deliveries = within(harness.patience() / 10, "a message for each consumer", both).await;
        let mut got = ids_of(&deliveries);
        got.sort();
        assert_eq!(got, ids);
        for delivery in deliveries {
            ack(delivery).await;
        }
    }
}

pub async fn every_field_of_an_envelope_arrives<H: TransportHarness>(harness: H) {
    let topology = subscribed(queues([WORK]), WORK, "orders", [Rule::subject("#")]);
    let scene = Scene::with(&harness, topology).await;
    let direct = to_queue(WORK, complete_message());
    let published = to_topic("orders", "orders.placed", complete_message());
    scene.send_all(&[direct.clone(), published.clone()]).await;

    let mut consumer = scene.consumer(WORK, 1).await;
    for sent in [direct, published] {
        let delivery = consumer.next().await;
        assert_same(delivery.envelope(), &sent.envelope);
        ack(delivery).await;
    }
}

pub async fn a_message_with_nothing_but_a_body_arrives<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let bare = Envelope { body: Bytes::from_static(b"bare"), ..Envelope::default() };
    scene.send(to_queue(WORK, bare.clone())).await;

    let delivery = scene.consumer(WORK, 1).await.next().await;
    // Brokers with coordinates make an id of them.
    let id = delivery.envelope().id.clone();
    assert_same(delivery.envelope(), &Envelope { id, ..bare });
}

pub async fn headers_keep_their_types<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let sent = Envelope { headers: typed_headers(), ..message("a") };
    scene.send(to_queue(WORK, sent.clone())).await;
    let delivery = scene.consumer(WORK, 1).await.next_is("a").await;
    assert_eq!(delivery.envelope().headers, sent.headers);
}

pub async fn an_empty_body_arrives<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let sent = Envelope { body: Bytes::new(), ..message("a") };
    scene.send(to_queue(WORK, sent.clone())).await;
    let delivery = scene.consumer(WORK, 1).await.next_is("a").await;
    assert_same(delivery.envelope(), &sent);
}

pub async fn a_large_body_arrives<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let bytes = scene.can(WORK).body_bytes_max.unwrap_or(MIB).min(MIB);
    let body: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
    let sent = Envelope { body: body.into(), ..message("large") };
    scene.send(to_queue(WORK, sent.clone())).await;
    let delivery = scene.consumer(WORK, 1).await.next_is("large").await;
    assert_same(delivery.envelope(), &sent);
}

pub async fn a_body_over_the_bound_is_refused<H: TransportHarness>(harness: H) {
    /// A larger bound would cost a test more memory than the answer is worth.
    const TESTED_MAX: u64 = 64 * MIB;
    let scene = Scene::fresh(&harness).await;
    let Some(bound) = scene.can(WORK).body_bytes_max.filter(|bound| *bound <= TESTED_MAX) else {
        return;
    };
    let body = Bytes::from(vec![b'x'; bound as usize + 1]);
    let refused = scene.refusal(to_queue(WORK, Envelope { body, ..message("a") })).await;
    assert_kind(&refused, ErrorKind::TooLarge);

    // It was refused alone: the queue goes on.
    scene.send(to_queue(WORK, message("b"))).await;
    scene.consumer(WORK, 1).await.ack_all(&["b"]).await;
}

pub async fn headers_over_the_bound_are_refused<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let Some(bound) = scene.can(WORK).header_bytes_max.filter(|bound| *bound <= MIB) else {
        return;
    };
    let mut large = message("a");
    large.headers.insert("large", "x".repeat(bound as usize + 1));
    let refused = scene.refusal(to_queue(WORK, large)).await;
    assert_kind(&refused, ErrorKind::TooLarge);
}
