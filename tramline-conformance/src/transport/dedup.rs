//! What was sent before is dropped for as long as its queue remembers it, or the wish is refused.

use crate::TransportHarness;
use crate::kit::consumer::ack;
use crate::kit::declared::declared_or_refused;
use crate::kit::message::{copy, message, queue_name, to_queue};
use crate::kit::scene::WORK;
use crate::kit::topology::plain;
use std::time::Duration;
use tramline_core::envelope::Envelope;
use tramline_core::name::QueueRef;
use tramline_core::settlement::Marks;
use tramline_core::topology::QueueSpec;
use tramline_core::transport::{CopyOf, Delivery};

/// The id and the idempotency key come again both, as from a sender that saw no answer.
pub async fn a_duplicate_within_the_window_is_dropped_or_no_window_is_accepted<
    H: TransportHarness,
>(
    harness: H,
) {
    let spec = QueueSpec { dedup_window: Some(Duration::from_secs(3600)), ..plain(WORK) };
    let Some(scene) = declared_or_refused(&harness, spec, |can| can.dedup).await else {
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
