//! What a sender answers.

use crate::TransportHarness;
use crate::kit::consumer::ids_of;
use crate::kit::message::{message, messages, to_queue, to_topic};
use crate::kit::scene::{Scene, WORK, assert_kind};
use crate::kit::topology::{queues, subscribed, with_topic};
use tramline_core::ErrorKind;
use tramline_core::topology::Rule;
use tramline_core::transport::{Destination, Outgoing, Sent};

pub async fn a_send_to_an_unknown_queue_is_refused_by_name<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let refused = scene.refusal(to_queue("nowhere", message("a"))).await;
    assert_kind(&refused, ErrorKind::NotFound);
    let text = refused.to_string();
    assert!(text.contains("nowhere"), "the error must name the queue: {text}");
}

pub async fn a_publish_that_nobody_subscribed_to_is_accepted_and_says_so<H: TransportHarness>(
    harness: H,
) {
    let scene = Scene::with(&harness, with_topic(queues([WORK]), "orders")).await;
    let published = to_topic("orders", "orders.placed", message("a"));
    let routed = routed(&scene.answers(&[published]).await[0]);
    assert_ne!(routed, Some(true), "no queue can have got it");
}

pub async fn a_publish_that_somebody_subscribed_to_says_so<H: TransportHarness>(harness: H) {
    let topology = subscribed(queues([WORK]), WORK, "orders", [Rule::subject("#")]);
    let scene = Scene::with(&harness, topology).await;
    let published = to_topic("orders", "orders.placed", message("a"));
    let routed = routed(&scene.answers(&[published]).await[0]);
    assert_ne!(routed, Some(false), "{WORK} subscribed to everything");
    scene.consumer(WORK, 1).await.ack_all(&["a"]).await;
}

pub async fn each_message_of_a_batch_is_answered_and_a_bad_one_fails_alone<H: TransportHarness>(
    harness: H,
) {
    let scene = Scene::fresh(&harness).await;
    let mut batch = messages(WORK, ["a", "b", "c"]);
    batch.insert(1, to_queue("nowhere", message("bad")));
    let answers = scene.answers(&batch).await;
    match answers.as_slice() {
        [first, Sent::Refused(error), rest @ ..] => {
            assert_kind(error, ErrorKind::NotFound);
            assert!(first.is_accepted() && rest.iter().all(Sent::is_accepted), "{answers:?}");
        }
        _ => panic!("expected the second of four to be refused, got: {answers:?}"),
    }
    let mut consumer = scene.consumer(WORK, 1).await;
    consumer.ack_all(&["a", "b", "c"]).await;
}

pub async fn an_empty_batch_has_no_answers<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let nothing: [Outgoing; 0] = [];
    scene.send_all(&nothing).await;
    scene.send(to_queue(WORK, message("a"))).await;
    scene.consumer(WORK, 1).await.ack_all(&["a"]).await;
}

/// A sender serves many callers.
pub async fn one_sender_serves_many_callers_at_once<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let [first, second, third] = [["a", "b"], ["c", "d"], ["e", "f"]].map(|ids| {
        let batch = messages(WORK, ids);
        let scene = &scene;
        async move { scene.send_all(&batch).await }
    });
    tokio::join!(first, second, third);
    let mut consumer = scene.consumer(WORK, 6).await;
    let mut taken = ids_of(&consumer.take(6).await);
    taken.sort();
    assert_eq!(taken, ["a", "b", "c", "d", "e", "f"]);
}

/// A wrong name must not harm what others send beside it.
pub async fn a_publish_to_an_exchange_that_is_not_there_is_refused_by_name<H: TransportHarness>(
    harness: H,
) {
    let scene = Scene::fresh(&harness).await;
    let nowhere = Destination::Foreign {
        exchange: "nowhere.events".to_owned(),
        routing_key: "order.created".to_owned(),
    };
    let lost = Outgoing { to: nowhere, ..to_queue(WORK, message("lost")) };
    let batch = [to_queue(WORK, message("a")), lost, to_queue(WORK, message("b"))];
    match scene.answers(&batch).await.as_slice() {
        [first, Sent::Refused(error), last] => {
            assert!(first.is_accepted() && last.is_accepted(), "got {first:?} and {last:?}");
            if error.kind() != ErrorKind::Unsupported {
                assert_kind(error, ErrorKind::NotFound);
            }
            let text = error.to_string();
            assert!(text.contains("nowhere.events"), "the error must name the exchange: {text}");
        }
        answers => panic!("expected the second of three to be refused, got: {answers:?}"),
    }
    scene.consumer(WORK, 1).await.ack_all(&["a", "b"]).await;
}

fn routed(sent: &Sent) -> Option<bool> {
    match sent {
        Sent::Accepted { routed } => *routed,
        refused => panic!("expected a topic to accept, got: {refused:?}"),
    }
}
