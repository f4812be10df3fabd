//! What is declared is there; what cannot be done is refused, never ignored.

use crate::TransportHarness;
use crate::kit::consumer::{ack, id_of, ids_of, settle};
use crate::kit::declared::{declared_or_refused, supports};
use crate::kit::message::{message, queue_name, to_queue};
use crate::kit::operator::{dead_at_last, peeked_ids};
use crate::kit::scene::{Scene, WORK, assert_kind};
use crate::kit::topology::{one_queue, plain, queues, subscribed};
use tramline_core::ErrorKind;
use tramline_core::envelope::Envelope;
use tramline_core::settlement::Settlement;
use tramline_core::topology::{QueueSpec, Rule};
use tramline_core::transport::{Delivery, Destination, Outgoing, Sent, Transport};

pub async fn declaring_again_changes_nothing<H: TransportHarness>(harness: H) {
    let topology = || subscribed(queues([WORK]), WORK, "orders", [Rule::subject("#")]);
    let mut scene = Scene::with(&harness, topology()).await;
    scene.send(to_queue(WORK, message("a"))).await;
    scene.declare(topology()).await;
    // Declares it once more, as a second process.
    let other = scene.other(&harness).await;
    other.consumer(WORK, 1).await.ack_all(&["a"]).await;
}

/// Services that are deployed together start together.
pub async fn many_may_declare_the_same_at_once<H: TransportHarness>(harness: H) {
    let first = Scene::with(&harness, queues([])).await;
    let second = first.other(&harness).await;
    let topology = subscribed(queues([WORK, "more"]), WORK, "orders", [Rule::subject("#")]);
    let (a, b, c) = tokio::join!(
        first.try_declare(&topology),
        second.try_declare(&topology),
        first.try_declare(&topology),
    );
    for answer in [a, b, c] {
        answer.unwrap_or_else(|error| panic!("expected all to declare, got: {error}"));
    }
    second.send(to_queue(WORK, message("a"))).await;
    first.consumer(WORK, 1).await.ack_all(&["a"]).await;
}

pub async fn a_conflicting_declaration_is_refused_with_the_argument_named<H: TransportHarness>(
    harness: H,
) {
    let mut scene = Scene::with(&harness, queues(["none"])).await;
    let priorities = |max| QueueSpec { priority_max: Some(max), ..plain("by-priority") };
    if supports(&scene.transport, &priorities(5), |can| can.priority.is_native()) {
        assert_conflict(&mut scene, priorities(5), priorities(9), "priority").await;
    }
    let length = |max| QueueSpec { length_max: Some(max), ..plain("by-length") };
    if supports(&scene.transport, &length(5), |can| can.length_max.is_offered()) {
        assert_conflict(&mut scene, length(5), length(9), "length").await;
    }
}

/// Asserts that a queue as `is` cannot be declared as `asked`, and stays as it is.
async fn assert_conflict<T: Transport>(
    scene: &mut Scene<T>,
    is: QueueSpec,
    asked: QueueSpec,
    argument: &str,
) {
    let name = is.name.to_string();
    scene.declare(one_queue(is.clone())).await;
    let refused = scene.try_declare(&one_queue(asked)).await;
    let refused = refused.expect_err("expected the queue to stay as it is");
    assert_kind(&refused, ErrorKind::Conflict);
    let text = refused.to_string();
    for word in [argument, &name] {
        assert!(text.contains(word), "the error must say {word:?}: {text}");
    }
    scene.declare(one_queue(is)).await;
}

pub async fn larger_priorities_go_first_or_are_refused<H: TransportHarness>(harness: H) {
    let spec = QueueSpec { priority_max: Some(9), ..plain(WORK) };
    let Some(scene) = declared_or_refused(&harness, spec, |can| can.priority.is_native()).await
    else {
        return;
    };
    let sent = [("low", Some(1)), ("none", None), ("high", Some(9)), ("as low", Some(1))];
    for (id, priority) in sent {
        let envelope = Envelope { priority, ..message(id) };
        scene.send(to_queue(WORK, envelope)).await;
    }
    let mut consumer = scene.consumer(WORK, 1).await;
    consumer.ack_all(&["high", "low", "as low", "none"]).await;
}

pub async fn a_temporary_queue_takes_messages_or_is_refused<H: TransportHarness>(harness: H) {
    let spec = QueueSpec { temporary: true, ..plain(WORK) };
    let declared =
        declared_or_refused(&harness, spec, |can| can.temporary_queues.is_offered()).await;
    let Some(scene) = declared else { return };
    let mut consumer = scene.consumer(WORK, 2).await;
    for id in ["a", "b"] {
        scene.send(to_queue(WORK, message(id))).await;
    }
    assert_eq!(ids_of(&consumer.take(2).await), ["a", "b"]);
}

pub async fn a_temporary_queue_has_an_address_and_is_gone_with_its_handle<H: TransportHarness>(
    harness: H,
) {
    let spec = QueueSpec { temporary: true, ..plain(WORK) };
    let lasting = QueueSpec::new(queue_name("lasting"));
    let declared =
        declared_or_refused(&harness, spec, |can| can.temporary_queues.is_offered()).await;
    let Some(mut scene) = declared else { return };
    scene.declare(one_queue(lasting)).await;
    let none = scene.transport.address(&queue_name("lasting"));
    assert_eq!(none, None, "others keep what is sent there: it is no address");
    let address =
        scene.transport.address(&queue_name(WORK)).expect("a temporary queue has an address");
    let mut consumer = scene.consumer(WORK, 2).await;
    let other = scene.other(&harness).await;
    let answer =
        |id| Outgoing { to: Destination::Address(address.clone()), ..to_queue(WORK, message(id)) };
    other.send(answer("a")).await;
    let taken = consumer.next_is("a").await;
    assert_eq!(taken.envelope().via, None);
    other.send(answer("b")).await;
    scene.transport.close(scene.deadline()).await.expect("expected it to be closed");
    drop((taken, consumer));
    // Whoever waited there is gone, and that is no error.
    let sent = other.answers(&[answer("c")]).await;
    assert!(matches!(sent[..], [Sent::Accepted { routed: Some(false) }]), "{sent:?}");
}

/// No capability says so, and the answer to `declare` decides: a limit that is taken must hold.
pub async fn a_delivery_limit_holds_or_is_refused<H: TransportHarness>(harness: H) {
    const LIMIT: u32 = 3;
    let spec = QueueSpec { delivery_limit: Some(LIMIT), ..plain(WORK) };
    let mut scene = Scene::with(&harness, queues([])).await;
    let topology = one_queue(spec);
    if let Err(error) = scene.try_declare(&topology).await {
        return assert_kind(&error, ErrorKind::Unsupported);
    }
    scene.declare(topology).await;
    scene.send(to_queue(WORK, message("a"))).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    for _ in 0..LIMIT {
        settle(consumer.next_is("a").await, Settlement::Return).await;
    }
    scene.send(to_queue(WORK, message("end"))).await;
    let mut next = consumer.next().await;
    // Some brokers count only what comes again.
    if id_of(&next) == "a" {
        settle(next, Settlement::Return).await;
        next = consumer.next().await;
    }
    assert_eq!(id_of(&next), "end", "a was delivered {LIMIT} times");
    ack(next).await;
    if let Some(dead) = dead_at_last(&scene, WORK, 1).await {
        assert_eq!(peeked_ids(&dead), ["a"], "what the broker gave up");
        assert!(dead[0].death.is_some(), "a dead letter has a record");
    }
}
