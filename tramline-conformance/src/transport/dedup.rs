//! What was sent before is dropped for as long as its queue remembers it, or the wish is refused.

use crate::TransportHarness;
use crate::kit::consumer::ack;
use crate::kit::declared::declared_or_refused;
use crate::kit::message::{copy, message, queue_name, to_queue, to_topic};
use crate::kit::operator::{Expected, assert_depth, offered};
use crate::kit::scene::{Scene, WORK};
use crate::kit::time::{now, until};
use crate::kit::topology::{plain, queues, subscribed};
use std::time::Duration;
use tramline_core::envelope::Envelope;
use tramline_core::name::QueueRef;
use tramline_core::settlement::Marks;
use tramline_core::topology::{QueueSpec, Rule};
use tramline_core::transport::{CopyOf, Delivery, Sent, Transport};

/// The id and the idempotency key come again both, as from a sender that saw no answer.
pub async fn a_duplicate_within_the_window_is_dropped_or_no_window_is_accepted<
    H: TransportHarness,
>(
    harness: H,
) {
    let spec = QueueSpec { dedup_window: Some(Duration::from_secs(3600)), ..plain(WORK) };
    let Some(scene) = declared_or_refused(&harness, spec, |can| can.dedup.is_native()).await else {
        return;
    };
    let keyed = Envelope { idempotency_key: Some("once".to_owned()), ..message("a") };
    scene.send(to_queue(WORK, keyed.clone())).await;
    scene.send(to_queue(WORK, keyed)).await;
    scene.send(to_queue(WORK, message("b"))).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    let first = consumer.next_is("a").await;

    // A copy passes: dropping it would lose the message whose original is acked next.
    let record =
        CopyOf::Retry { failures: 1, history: Default::default(), marks: Marks::default() };
    let again = copy(QueueRef::Main(queue_name(WORK)), first.envelope(), record);
    scene.send(again).await;
    ack(first).await;
    consumer.ack_all(&["b", "a"]).await;
}

pub async fn what_a_message_is_known_by_is_its_idempotency_key_else_its_id<H: TransportHarness>(
    harness: H,
) {
    let Some(scene) =
        declared_or_refused(&harness, remembering(HOUR), |can| can.dedup.is_native()).await
    else {
        return;
    };
    let known_by = |id, key: &str| {
        let envelope = Envelope { idempotency_key: Some(key.to_owned()), ..message(id) };
        to_queue(WORK, envelope)
    };
    let plain = |id| to_queue(WORK, message(id));
    // A key is no id: `b` is known as an id before it comes as a key.
    for (outgoing, is_new) in [
        (plain("b"), true),
        (known_by("a", "b"), true),
        (known_by("c", "b"), false),
        (known_by("a", "other"), true),
        (plain("a"), true),
        (plain("a"), false),
        (plain("b"), false),
    ] {
        let before = ready(&scene).await;
        assert_routed(&scene.answers(&[outgoing]).await[0]);
        if let (Some(before), Some(after)) = (before, ready(&scene).await) {
            assert_eq!(after - before, u64::from(is_new));
        }
    }
    scene.send(plain("end")).await;
    scene.consumer(WORK, 1).await.ack_all(&["b", "a", "a", "a", "end"]).await;
}

pub async fn what_was_handled_is_still_known_and_after_the_window_it_is_not<H: TransportHarness>(
    harness: H,
) {
    const WINDOW: Duration = Duration::from_secs(2);
    let Some(scene) =
        declared_or_refused(&harness, remembering(WINDOW), |can| can.dedup.is_native()).await
    else {
        return;
    };
    let mut consumer = scene.consumer(WORK, 1).await;
    scene.send(to_queue(WORK, message("a"))).await;
    let known_until = now().after(WINDOW);
    consumer.ack_all(&["a"]).await;
    scene.send_all(&[to_queue(WORK, message("a")), to_queue(WORK, message("b"))]).await;
    consumer.ack_all(&["b"]).await;

    until(known_until.after(Duration::from_millis(1))).await;
    scene.send(to_queue(WORK, message("a"))).await;
    consumer.ack_all(&["a"]).await;
}

/// Who subscribed later, or forgets, gets what others drop.
pub async fn a_duplicate_is_dropped_only_for_queues_that_remember_it<H: TransportHarness>(
    harness: H,
) {
    let Some(mut scene) =
        declared_or_refused(&harness, remembering(HOUR), |can| can.dedup.is_native()).await
    else {
        return;
    };
    let mut topology = queues(["forgetful"]);
    topology.queues.push(remembering(HOUR));
    let topology = subscribed(topology, WORK, "orders", [Rule::subject("#")]);
    scene.declare(subscribed(topology, "forgetful", "orders", [Rule::subject("#")])).await;
    for _ in 0..2 {
        let answers = scene.answers(&[to_topic("orders", "orders.placed", message("a"))]).await;
        assert_routed(&answers[0]);
    }
    for (queue, ids) in [(WORK, &["a", "end"][..]), ("forgetful", &["a", "a", "end"])] {
        scene.send(to_queue(queue, message("end"))).await;
        scene.consumer(queue, 1).await.ack_all(ids).await;
    }
    assert_depth(&scene, WORK, Expected::default(), "at the end").await;
}

const HOUR: Duration = Duration::from_secs(3600);

fn remembering(window: Duration) -> QueueSpec {
    QueueSpec { dedup_window: Some(window), ..plain(WORK) }
}

/// How much is ready, if the transport knows.
async fn ready<T: Transport>(scene: &Scene<T>) -> Option<u64> {
    let depth = scene.transport.operate()?.depth(&queue_name(WORK)).await;
    offered(depth)?.ready.known()
}

/// To a sender that saw no answer, a duplicate is as good as the first.
fn assert_routed(sent: &Sent) {
    let is_routed = matches!(sent, Sent::Accepted { routed: Some(true) | None });
    assert!(is_routed, "expected to be told that it is there, got: {sent:?}");
}
