//! A queue with a maximum refuses what is too much, or the maximum is refused.

use super::dead_letters::kill;
use crate::TransportHarness;
use crate::kit::consumer::ack;
use crate::kit::declared::declared_or_refused;
use crate::kit::engine::{Failed, retry};
use crate::kit::message::{copy, message, messages, queue_name, to_queue, to_topic};
use crate::kit::operator::offered;
use crate::kit::scene::{WORK, assert_kind};
use crate::kit::time::due_in;
use crate::kit::topology::{plain, queues, subscribed};
use std::time::Duration;
use tramline_core::ErrorKind;
use tramline_core::name::QueueRef;
use tramline_core::operate::Redrive;
use tramline_core::topology::{QueueSpec, Rule};
use tramline_core::transport::{CopyOf, Delivery, Outgoing, Sent, Transport};

pub async fn a_full_queue_refuses_messages_or_no_length_is_accepted<H: TransportHarness>(
    harness: H,
) {
    const LENGTH: u64 = 3;
    /// Brokers in several places count a little late.
    const SLACK: u64 = 50;
    let spec = QueueSpec { length_max: Some(LENGTH), ..plain(WORK) };
    let Some(scene) = declared_or_refused(&harness, spec, |can| can.length_max).await else {
        return;
    };
    for number in 0..LENGTH + SLACK {
        let id = format!("m{number}");
        let sent = scene.answers(&[to_queue(WORK, message(&id))]).await;
        match &sent[0] {
            Sent::Accepted { .. } => {}
            Sent::Refused(error) => {
                assert!(number >= LENGTH, "refused although only {number} of {LENGTH} wait");
                return assert_kind(error, ErrorKind::Full);
            }
            unknown => panic!("expected an answer for {id}, got: {unknown:?}"),
        }
    }
    panic!("expected a queue of at most {LENGTH} to be full, but it took {SLACK} more");
}

/// What waits for its time and what is at work takes up room; dead letters do not.
pub async fn everything_but_dead_letters_counts_and_an_ack_makes_room<H: TransportHarness>(
    harness: H,
) {
    let Some(scene) = declared_or_refused(&harness, short(3), |can| can.length_max).await else {
        return;
    };
    kill(&scene, &["dead"]).await;
    let due = scene.can(WORK).delay.is_some().then(|| due_in(Duration::from_secs(3600)));
    let later = Outgoing { due, ..to_queue(WORK, message("later")) };
    scene.send_all(&messages(WORK, ["held", "ready"])).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    let held = consumer.next_is("held").await;
    scene.send(later).await;

    let refused = scene.refusal(to_queue(WORK, message("too much"))).await;
    assert_kind(&refused, ErrorKind::Full);
    let text = refused.to_string();
    assert!(text.contains(WORK), "the error must name the queue: {text}");
    ack(held).await;
    scene.send(to_queue(WORK, message("room"))).await;
    scene.refusal(to_queue(WORK, message("too much"))).await;
}

/// A publish reaches every queue or none: what is refused can be sent again without duplicates.
pub async fn a_publish_that_one_queue_has_no_room_for_reaches_none<H: TransportHarness>(
    harness: H,
) {
    let Some(mut scene) = declared_or_refused(&harness, short(1), |can| can.length_max).await
    else {
        return;
    };
    let mut topology = queues(["first", "last"]);
    topology.queues.push(short(1));
    for queue in ["first", WORK, "last"] {
        topology = subscribed(topology, queue, "orders", [Rule::subject("#")]);
    }
    scene.declare(topology).await;
    let placed = |id| to_topic("orders", "orders.placed", message(id));
    // Messages of one batch are judged one by one, in order.
    let batch = [placed("a"), placed("b"), to_queue("last", message("c"))];
    match scene.answers(&batch).await.as_slice() {
        [Sent::Accepted { .. }, Sent::Refused(error), Sent::Accepted { .. }] => {
            assert_kind(error, ErrorKind::Full);
            assert!(error.to_string().contains(WORK), "the error must name the queue: {error}");
        }
        answers => panic!("expected the second of three to be refused, got: {answers:?}"),
    }
    scene.consumer(WORK, 1).await.ack_all(&["a"]).await;
    scene.send(placed("b")).await;
    scene.consumer("first", 1).await.ack_all(&["a", "b"]).await;
    scene.consumer("last", 1).await.ack_all(&["a", "c", "b"]).await;
}

/// Refusing a copy would lose the message whose original is acked next.
pub async fn copies_and_what_comes_back_are_never_refused<H: TransportHarness>(harness: H) {
    let Some(scene) = declared_or_refused(&harness, short(1), |can| can.length_max).await else {
        return;
    };
    kill(&scene, &["dead"]).await;
    scene.send(to_queue(WORK, message("a"))).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    let delivery = consumer.next_is("a").await;
    let record =
        CopyOf::Retry { failures: 1, history: Default::default(), marks: Default::default() };
    scene.send(copy(QueueRef::Main(queue_name(WORK)), delivery.envelope(), record)).await;
    ack(delivery).await;
    let again = consumer.next_is("a").await;
    retry(&scene, WORK, again, Duration::ZERO, Failed::again(2)).await;
    if let Some(operator) = scene.transport.operate()
        && let Some(redriven) = offered(operator.redrive(&queue_name(WORK), Redrive::all()).await)
    {
        assert_eq!(redriven, 1);
        return consumer.ack_all(&["a", "dead"]).await;
    }
    consumer.ack_all(&["a"]).await;
}

fn short(length: u64) -> QueueSpec {
    QueueSpec { length_max: Some(length), ..plain(WORK) }
}
