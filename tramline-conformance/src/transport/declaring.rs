//! What is declared is there; what cannot be done is refused, never ignored.

use crate::TransportHarness;
use crate::kit::consumer::{ack, id_of, ids_of, settle};
use crate::kit::engine::{Failed, retry};
use crate::kit::message::{copy, message, queue_name, to_queue};
use crate::kit::operator::{peek_dead, peeked_ids};
use crate::kit::scene::{Scene, WORK, assert_kind};
use crate::kit::topology::{one_queue, plain, queues, subscribed};
use std::time::Duration;
use tramline_core::ErrorKind;
use tramline_core::capabilities::{Capabilities, Ordering, Support};
use tramline_core::envelope::Envelope;
use tramline_core::name::QueueRef;
use tramline_core::settlement::{Marks, Settlement};
use tramline_core::topology::{QueueSpec, Rule};
use tramline_core::transport::{CopyOf, Delivery, Sent, Transport};

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
    let with =
        |priority_max| one_queue(QueueSpec { priority_max: Some(priority_max), ..plain(WORK) });
    let mut scene = Scene::with(&harness, queues(["none"])).await;
    if !supports(&scene.transport, &with(5).queues[0], |can| can.priority) {
        return;
    }
    scene.declare(with(5)).await;
    let refused = scene.try_declare(&with(9)).await;
    let refused = refused.expect_err("expected a queue with priorities to 5 to stay as it is");
    assert_kind(&refused, ErrorKind::Conflict);
    let text = refused.to_string();
    for word in ["priority", WORK] {
        assert!(text.contains(word), "the error must say {word:?}: {text}");
    }
    scene.declare(with(5)).await;
}

pub async fn larger_priorities_go_first_or_are_refused<H: TransportHarness>(harness: H) {
    let spec = QueueSpec { priority_max: Some(9), ..plain(WORK) };
    let Some(scene) = declared_or_refused(&harness, spec, |can| can.priority).await else {
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

pub async fn order_by_key_is_kept_or_refused<H: TransportHarness>(harness: H) {
    const MOMENT: Duration = Duration::from_millis(100);
    let spec = QueueSpec { ordering: Ordering::PerKey, ..plain(WORK) };
    let Some(scene) = ordered_or_refused(&harness, spec).await else {
        return;
    };
    let other = scene.other(&harness).await;
    for number in 0..12 {
        let id = format!("{}{number:02}", ["x", "y", "z"][number / 2 % 3]);
        scene.send(to_queue(WORK, keyed(&id))).await;
    }
    let mut consumers = [scene.consumer(WORK, 1).await, other.consumer(WORK, 1).await];
    let mut handled: Vec<String> = Vec::new();
    while handled.len() < 12 {
        let [here, there] = &mut consumers;
        let (delivery, rival) = tokio::select! {
            delivery = here.next() => (delivery, there),
            delivery = there.next() => (delivery, here),
        };
        let id = id_of(&delivery);
        // Nothing tells a rival that it gets nothing, so it is asked for a moment only.
        if let Some(meanwhile) = rival.next_within(MOMENT).await {
            let other = id_of(&meanwhile);
            assert_ne!(other[..1], id[..1], "{other} was handed out while {id} was handled");
            handled.push(other);
            ack(meanwhile).await;
        }
        handled.push(id);
        ack(delivery).await;
    }
    for key in ["x", "y", "z"] {
        let of_key: Vec<&String> = handled.iter().filter(|id| id.starts_with(key)).collect();
        assert!(of_key.is_sorted(), "messages of one key were handled as {of_key:?}");
    }
}

pub async fn a_retried_message_keeps_its_key_locked_where_that_is_native<H: TransportHarness>(
    harness: H,
) {
    const PAUSE: Duration = Duration::from_millis(200);
    let spec = QueueSpec { ordering: Ordering::PerKey, ..plain(WORK) };
    let Some(scene) = ordered_or_refused(&harness, spec).await else {
        return;
    };
    if !scene.can(WORK).key_lock.is_native() {
        return;
    }
    for id in ["x1", "x2", "y1"] {
        scene.send(to_queue(WORK, keyed(id))).await;
    }
    let mut consumer = scene.consumer(WORK, 10).await;
    let failing = consumer.next_is("x1").await;
    let meanwhile = consumer.next_is("y1").await;
    retry(&scene, WORK, failing, PAUSE, Failed::again(1)).await;
    ack(meanwhile).await;
    // During the pause x2 could be taken, were the key not locked.
    consumer.ack_all(&["x1", "x2"]).await;
}

pub async fn order_by_queue_is_accepted_or_refused<H: TransportHarness>(harness: H) {
    let spec = QueueSpec { ordering: Ordering::PerQueue, ..plain(WORK) };
    let Some(scene) = ordered_or_refused(&harness, spec).await else {
        return;
    };
    for id in ["a", "b", "c"] {
        scene.send(to_queue(WORK, keyed(id))).await;
    }
    let mut consumer = scene.consumer(WORK, 10).await;
    consumer.ack_all(&["a", "b", "c"]).await;
}

pub async fn a_temporary_queue_takes_messages_or_is_refused<H: TransportHarness>(harness: H) {
    let spec = QueueSpec { temporary: true, ..plain(WORK) };
    let declared = declared_or_refused(&harness, spec, |can| can.temporary_queues).await;
    let Some(scene) = declared else { return };
    let mut consumer = scene.consumer(WORK, 2).await;
    for id in ["a", "b"] {
        scene.send(to_queue(WORK, message(id))).await;
    }
    assert_eq!(ids_of(&consumer.take(2).await), ["a", "b"]);
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
    if let Some(dead) = peek_dead(&scene, WORK).await {
        assert_eq!(peeked_ids(&dead), ["a"], "what the broker gave up");
    }
}

/// A message whose key is the first letter of its id.
fn keyed(id: &str) -> Envelope {
    Envelope { key: Some(id[..1].to_owned()), ..message(id) }
}

fn supports<T: Transport>(
    transport: &T,
    spec: &QueueSpec,
    capability: fn(&Capabilities) -> Support,
) -> bool {
    capability(&transport.capabilities(spec)).is_native()
}

/// A scene with `spec`; `None` where the capability is not there and `spec` is rightly refused.
async fn declared_or_refused<H: TransportHarness>(
    harness: &H,
    spec: QueueSpec,
    capability: fn(&Capabilities) -> Support,
) -> Option<Scene<H::Transport>> {
    let mut scene = Scene::with(harness, queues([])).await;
    let native = supports(&scene.transport, &spec, capability);
    declare_if(&mut scene, spec, native).await.then_some(scene)
}

/// The same for the order that `spec` asks for.
async fn ordered_or_refused<H: TransportHarness>(
    harness: &H,
    spec: QueueSpec,
) -> Option<Scene<H::Transport>> {
    let mut scene = Scene::with(harness, queues([])).await;
    let kept = scene.transport.capabilities(&spec).ordering >= spec.ordering;
    declare_if(&mut scene, spec, kept).await.then_some(scene)
}

async fn declare_if<T: Transport>(scene: &mut Scene<T>, spec: QueueSpec, supported: bool) -> bool {
    let topology = one_queue(spec);
    if supported {
        scene.declare(topology).await;
    } else {
        match scene.try_declare(&topology).await {
            Err(error) => assert_kind(&error, ErrorKind::Unsupported),
            Ok(()) => panic!("expected {topology:?} to be refused, for lack of the capability"),
        }
    }
    supported
}
