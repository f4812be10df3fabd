//! A queue with a maximum refuses what is too much, or the maximum is refused.

use super::dead_letters::kill;
use crate::TransportHarness;
use crate::kit::consumer::ack;
use crate::kit::declared::declared_or_refused;
use crate::kit::engine::{Failed, retry};
use crate::kit::message::{copy, message, messages, queue_name, to_queue, to_topic};
use crate::kit::operator::offered;
use crate::kit::scene::{Scene, WORK, assert_kind};
use crate::kit::time::{due_in, within};
use crate::kit::topology::{plain, queues, subscribed};
use std::time::Duration;
use tramline_core::ErrorKind;
use tramline_core::capabilities::{Capabilities, LengthLimit};
use tramline_core::name::QueueRef;
use tramline_core::operate::Redrive;
use tramline_core::topology::{QueueSpec, Rule, Topology};
use tramline_core::transport::{CopyOf, Delivery, Outgoing, Sent, Transport};

pub async fn a_full_queue_refuses_messages_or_no_length_is_accepted<H: TransportHarness>(
    harness: H,
) {
    const LENGTH: usize = 3;
    let spec = short(LENGTH as u64);
    let offered = |can: &Capabilities| can.length_max.is_offered();
    let Some(scene) = declared_or_refused(&harness, spec, offered).await else {
        return;
    };
    let waiting = fill(&scene).await.len();
    assert!(waiting >= LENGTH, "refused although only {waiting} of {LENGTH} wait");
}

/// What waits for its time and what is at work takes up room; dead letters do not.
pub async fn everything_but_dead_letters_counts_and_an_ack_makes_room<H: TransportHarness>(
    harness: H,
) {
    let Some(scene) = limited(&harness, 3, LengthLimit::Whole).await else {
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
    let Some(mut scene) = limited(&harness, 1, LengthLimit::Whole).await else {
        return;
    };
    scene.declare(one_short_of_three()).await;
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
    let Some(scene) = limited(&harness, 1, LengthLimit::Whole).await else {
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

/// What is handed out does not count there, so neither must be waited for.
pub async fn where_each_queue_counts_by_itself_what_leaves_makes_room<H: TransportHarness>(
    harness: H,
) {
    let Some(scene) = limited(&harness, 3, LengthLimit::EachQueue).await else {
        return;
    };
    kill(&scene, &["dead"]).await;
    let waiting = fill(&scene).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    for id in &waiting {
        ack(consumer.next_is(id).await).await;
    }
    accepted_at_last(&scene, to_queue(WORK, message("room"))).await;
    consumer.ack_all(&["room"]).await;
}

/// Nobody is told which queues got it before: whoever sends it again may duplicate it, and loses
/// nothing.
pub async fn where_each_queue_counts_by_itself_a_refused_publish_is_sent_again_to_all<
    H: TransportHarness,
>(
    harness: H,
) {
    let Some(mut scene) = limited(&harness, 1, LengthLimit::EachQueue).await else {
        return;
    };
    scene.declare(one_short_of_three()).await;
    let waiting = fill(&scene).await;
    let placed = || to_topic("orders", "orders.placed", message("placed"));
    let refused = scene.refusal(placed()).await;
    assert_kind(&refused, ErrorKind::Full);
    let text = refused.to_string();
    assert!(text.contains("orders") || text.contains(WORK), "the error must say where: {text}");

    let mut consumer = scene.consumer(WORK, 1).await;
    for id in &waiting {
        ack(consumer.next_is(id).await).await;
    }
    accepted_at_last(&scene, placed()).await;
    consumer.ack_all(&["placed"]).await;
    for queue in ["first", "last"] {
        drop(scene.consumer(queue, 1).await.next_is("placed").await);
    }
}

/// Sends to [`WORK`] until it is full, and answers what waits there.
async fn fill<T: Transport>(scene: &Scene<T>) -> Vec<String> {
    /// Brokers in several places count a little late.
    const SLACK: usize = 50;
    let mut waiting = Vec::new();
    while waiting.len() < SLACK {
        let id = format!("m{}", waiting.len());
        match &scene.answers(&[to_queue(WORK, message(&id))]).await[..] {
            [Sent::Accepted { .. }] => waiting.push(id),
            [Sent::Refused(error)] => {
                assert_kind(error, ErrorKind::Full);
                return waiting;
            }
            unknown => panic!("expected an answer for {id}, got: {unknown:?}"),
        }
    }
    panic!("expected {WORK} to be full, but it took {SLACK}");
}

/// Sends until it is accepted: brokers notice a little late that there is room.
async fn accepted_at_last<T: Transport>(scene: &Scene<T>, outgoing: Outgoing) {
    let sending = async {
        loop {
            match &scene.answers(std::slice::from_ref(&outgoing)).await[..] {
                [Sent::Accepted { .. }] => return,
                [Sent::Refused(error)] => assert_kind(error, ErrorKind::Full),
                unknown => panic!("expected an answer, got: {unknown:?}"),
            }
            tokio::task::yield_now().await;
        }
    };
    within(scene.patience, "to be accepted when there is room", sending).await;
}

/// A scene whose [`WORK`] holds so many, where that is counted in the way of `limit`.
async fn limited<H: TransportHarness>(
    harness: &H,
    length: u64,
    limit: LengthLimit,
) -> Option<Scene<H::Transport>> {
    let offered = |can: &Capabilities| can.length_max.is_offered();
    let scene = declared_or_refused(harness, short(length), offered).await?;
    (scene.can(WORK).length_max == limit).then_some(scene)
}

/// `WORK`, which holds one message, and two without a limit, which get the same.
fn one_short_of_three() -> Topology {
    let mut topology = queues(["first", "last"]);
    topology.queues.push(short(1));
    for queue in ["first", WORK, "last"] {
        topology = subscribed(topology, queue, "orders", [Rule::subject("#")]);
    }
    topology
}

fn short(length: u64) -> QueueSpec {
    QueueSpec { length_max: Some(length), ..plain(WORK) }
}
