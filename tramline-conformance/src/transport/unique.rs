//! One message of a key is in a queue at a time, and what is sent meanwhile is dropped, or the wish is refused.

use crate::TransportHarness;
use crate::kit::consumer::ack;
use crate::kit::declared::declared_or_refused;
use crate::kit::engine::{Failed, dead_letter, retry};
use crate::kit::message::{copy, keyed, message, queue_name, to_queue, to_topic};
use crate::kit::operator::{Expected, assert_depth, offered};
use crate::kit::scene::{Scene, WORK};
use crate::kit::time::{due_in, until};
use crate::kit::topology::{plain, queues, subscribed};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tramline_core::capabilities::Ordering;
use tramline_core::dead::Reason;
use tramline_core::envelope::Envelope;
use tramline_core::name::QueueRef;
use tramline_core::operate::Redrive;
use tramline_core::topology::{QueueSpec, Rule};
use tramline_core::transport::{CopyOf, Delivery, Outgoing, Sent, Transport};

/// Keys are the first letters of ids.
pub async fn one_message_of_a_key_is_there_at_a_time_or_the_wish_is_refused<H: TransportHarness>(
    harness: H,
) {
    let Some(scene) = unique(&harness).await else { return };
    // In one batch, too.
    scene.send_all(&["a1", "a2", "b1"].map(sent)).await;
    dropped(&scene, "a3").await;
    scene.send_all(&["no key", "no key either"].map(|id| to_queue(WORK, message(id)))).await;
    let mut consumer = scene.consumer(WORK, 1).await;

    let running = consumer.next_is("a1").await;
    dropped(&scene, "a4").await;
    ack(running).await;
    scene.send(sent("a5")).await;
    consumer.ack_all(&["b1", "no key", "no key either", "a5"]).await;
    assert_depth(&scene, WORK, Expected::default(), "at the end").await;
}

pub async fn what_waits_for_its_time_or_its_retry_holds_its_key<H: TransportHarness>(harness: H) {
    const SOON: Duration = Duration::from_millis(200);
    let Some(scene) = unique(&harness).await else { return };
    let due = due_in(SOON);
    scene.send(Outgoing { due: Some(due), ..sent("a1") }).await;
    dropped(&scene, "a2").await;
    dropped_outgoing(&scene, Outgoing { due: Some(due_in(SOON)), ..sent("a3") }).await;
    until(due).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    let failed = consumer.next_is("a1").await;
    retry(&scene, WORK, failed, SOON, Failed::again(1)).await;
    dropped(&scene, "a4").await;
    let again = consumer.next_is("a1").await;
    drop(again);
    dropped(&scene, "a5").await;
    consumer.ack_all(&["a1"]).await;
    scene.send(sent("a6")).await;
    consumer.ack_all(&["a6"]).await;
}

pub async fn a_dead_letter_a_purge_and_an_expiry_free_the_key<H: TransportHarness>(harness: H) {
    let Some(scene) = unique(&harness).await else { return };
    let operator = scene.transport.operate();
    scene.send(sent("a1")).await;
    kill_next(&scene, "a1").await;
    scene.send(sent("a2")).await;
    if let Some(operator) = operator
        && let Some(purged) = offered(operator.purge(&QueueRef::Main(queue_name(WORK))).await)
    {
        assert_eq!(purged, 1, "a2");
        scene.send(sent("a3")).await;
    }
    let mut consumer = scene.consumer(WORK, 1).await;
    ack(consumer.next().await).await;
    if !scene.can(WORK).expiry.is_native() {
        return;
    }
    let at = due_in(Duration::from_millis(50));
    let expiring = Envelope { expires_at: Some(at), ..keyed("a4") };
    scene.send(to_queue(WORK, expiring)).await;
    until(at.after(Duration::from_millis(1))).await;
    scene.send(to_queue(WORK, message("end"))).await;
    consumer.ack_all(&["end"]).await;
    scene.send(sent("a5")).await;
    consumer.ack_all(&["a5"]).await;
}

pub async fn a_purge_frees_the_keys_of_what_stands_behind_others<H: TransportHarness>(harness: H) {
    let spec = QueueSpec { ordering: Ordering::PerQueue, ..spec() };
    let Some(scene) = declared_or_refused(&harness, spec, |can| can.unique.is_native()).await
    else {
        return;
    };
    let Some(operator) = scene.transport.operate() else { return };
    scene.send_all(&["a1", "b1"].map(sent)).await;
    let purged = offered(operator.purge(&QueueRef::Main(queue_name(WORK))).await);
    if purged.is_none() {
        return;
    }
    assert_eq!(purged, Some(2));
    scene.send_all(&["b2", "a2"].map(sent)).await;
    scene.consumer(WORK, 1).await.ack_all(&["b2", "a2"]).await;
}

/// Dropping a copy would lose the message whose original is acked next; and each that is let in is waited for.
pub async fn copies_and_redrives_are_let_in_and_each_holds_the_key<H: TransportHarness>(
    harness: H,
) {
    let Some(scene) = unique(&harness).await else { return };
    scene.send(sent("a1")).await;
    kill_next(&scene, "a1").await;
    scene.send(sent("a2")).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    let running = consumer.next_is("a2").await;
    let record =
        CopyOf::Retry { failures: 1, history: Default::default(), marks: Default::default() };
    scene.send(copy(QueueRef::Main(queue_name(WORK)), running.envelope(), record)).await;
    ack(running).await;
    let Some(operator) = scene.transport.operate() else { return };
    let Some(1) = offered(operator.redrive(&queue_name(WORK), Redrive::all()).await) else {
        return;
    };
    for id in ["a2", "a1"] {
        dropped(&scene, "a3").await;
        consumer.ack_all(&[id]).await;
    }
    scene.send(sent("a4")).await;
    consumer.ack_all(&["a4"]).await;
    assert_depth(&scene, WORK, Expected::default(), "at the end").await;
}

pub async fn a_message_is_unique_in_those_queues_that_ask_for_it<H: TransportHarness>(harness: H) {
    let Some(mut scene) = unique(&harness).await else { return };
    let mut topology = queues(["all"]);
    topology.queues.push(spec());
    let topology = subscribed(topology, WORK, "orders", [Rule::subject("#")]);
    scene.declare(subscribed(topology, "all", "orders", [Rule::subject("#")])).await;
    for id in ["a1", "a2"] {
        scene.send(to_topic("orders", "orders.placed", keyed(id))).await;
    }
    scene.consumer(WORK, 1).await.ack_all(&["a1"]).await;
    scene.consumer("all", 1).await.ack_all(&["a1", "a2"]).await;
    assert_depth(&scene, WORK, Expected::default(), "at the end").await;
}

/// Each from a process of its own.
pub async fn who_sends_at_once_brings_in_one<H: TransportHarness>(harness: H) {
    const SENDERS: usize = 4;
    const ROUNDS: usize = 20;
    let Some(scene) = unique(&harness).await else { return };
    let (mut senders, together) = (JoinSet::new(), Arc::new(Barrier::new(SENDERS)));
    for number in 0..SENDERS {
        let (process, together) = (scene.other(&harness).await, together.clone());
        senders.spawn(async move {
            for key in ('a'..).take(ROUNDS) {
                together.wait().await;
                process.send(sent(&format!("{key}{number}"))).await;
            }
        });
    }
    while let Some(ended) = senders.join_next().await {
        ended.expect("a sender ends");
    }
    let ready = ROUNDS as u64;
    assert_depth(&scene, WORK, Expected { ready, ..Expected::default() }, "one of each").await;
    let mut consumer = scene.consumer(WORK, ROUNDS as u32).await;
    for delivery in consumer.take(ROUNDS).await {
        ack(delivery).await;
    }
    scene.send(to_queue(WORK, message("end"))).await;
    consumer.ack_all(&["end"]).await;
}

fn spec() -> QueueSpec {
    QueueSpec { unique: true, ..plain(WORK) }
}

async fn unique<H: TransportHarness>(harness: &H) -> Option<Scene<H::Transport>> {
    declared_or_refused(harness, spec(), |can| can.unique.is_native()).await
}

fn sent(id: &str) -> Outgoing {
    to_queue(WORK, keyed(id))
}

/// To its sender, what was dropped is there.
async fn dropped<T: Transport>(scene: &Scene<T>, id: &str) {
    dropped_outgoing(scene, sent(id)).await;
}

async fn dropped_outgoing<T: Transport>(scene: &Scene<T>, outgoing: Outgoing) {
    let held = || async {
        let depth = scene.transport.operate()?.depth(&queue_name(WORK)).await;
        let depth = offered(depth)?;
        Some(depth.ready.known()? + depth.leased.known()? + depth.delayed.known()?)
    };
    let before = held().await;
    let answer = scene.answers(&[outgoing]).await.remove(0);
    let is_routed = matches!(answer, Sent::Accepted { routed: Some(true) | None });
    assert!(is_routed, "expected to be told that it is there, got: {answer:?}");
    assert_eq!(held().await, before, "it was let in");
}

async fn kill_next<T: Transport>(scene: &Scene<T>, id: &str) {
    let mut consumer = scene.consumer(WORK, 1).await;
    let delivery = consumer.next_is(id).await;
    dead_letter(scene, WORK, delivery, Reason::Permanent, Failed::again(1)).await;
    consumer.stop().await;
}
