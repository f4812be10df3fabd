//! What is published in a transaction leaves if it commits, on the transport of its database.

use super::harness::{Note, StoreHarness, Write};
use super::work::{ENDPOINT, Work, handling, outside, shared};
use crate::kit::consumer::{ack, id_of};
use crate::kit::message::{message, message_id, queue_name, to_queue};
use crate::kit::scene::WORK;
use crate::kit::time::within;
use crate::kit::topology::{queues, subscribed};
use std::time::Duration;
use tramline_core::compose::{Publishing, Scope, Target};
use tramline_core::envelope::Envelope;
use tramline_core::id::MessageId;
use tramline_core::store::Store;
use tramline_core::topology::Rule;
use tramline_core::transport::{Delivery, Outgoing};

pub async fn a_message_arrives_exactly_when_its_transaction_commits<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let Some(scene) = shared(&harness, &store).await else {
        return;
    };
    let fail = Write::Fail("no".to_owned());
    let failing = Work::of([send("failed"), fail]).under(outside(Publishing::Queues));
    failing.failed(&harness, &store).await;
    let begun = store.begin(outside(Publishing::Queues)).await;
    let mut tx = begun.unwrap_or_else(|error| panic!("expected to begin, got: {error}"));
    let written = harness.write(&mut tx, send("committed")).await;
    written.unwrap_or_else(|failure| panic!("expected to write, got: {failure}"));

    let mut consumer = scene.consumer(WORK, 1).await;
    scene.send(to_queue(WORK, message("direct"))).await;
    consumer.ack_all(&["direct"]).await;
    let committed = store.commit(tx, Vec::new(), Vec::new()).await;
    committed.unwrap_or_else(|error| panic!("expected a commit, got: {error}"));
    let delivery = consumer.next().await;
    assert_eq!(note_in(delivery.envelope()), r#"{"text":"committed"}"#);
    ack(delivery).await;
}

/// It decides whether a message needs an inbox row.
pub async fn a_ticket_tells_what_was_born_in_the_database<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let Some(scene) = shared(&harness, &store).await else {
        return;
    };
    let work = Work::of([send("inside")]).under(outside(Publishing::Queues));
    work.done(&harness, &store).await;
    scene.send(to_queue(WORK, message("outside"))).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    for born_here in [true, false] {
        let delivery = consumer.next().await;
        let ticket = delivery.ticket().expect("it shares the store's database");
        assert_eq!(ticket.database, store.database());
        assert_eq!(ticket.born_here, born_here, "of {}", id_of(&delivery));
        ack(delivery).await;
    }
}

/// Closures in their order, then the buffer; a handler that runs again publishes the same ids.
pub async fn ids_are_derived_in_order_and_repeat_when_a_handler_runs_again<H: StoreHarness>(
    harness: H,
) {
    let store = harness.fresh().await;
    let Some(scene) = shared(&harness, &store).await else {
        return;
    };
    let scope = || handling("parent", message("parent"), Publishing::Queues);
    let texts = ["first", "second", "third", "fourth"];
    let expected: Vec<MessageId> = (0..4).map(|ordinal| derived("parent", ordinal)).collect();
    let fail = Write::Fail("a first run fails at its end".to_owned());
    let failing = Work::of([send("first"), fail]).under(scope());
    failing.failed(&harness, &store).await;
    for _ in 0..2 {
        let buffered = [buffer(&scope(), "third"), buffer(&scope(), "fourth")];
        let work = Work::of([send("first"), send("second")]).under(scope());
        work.buffering(buffered).done(&harness, &store).await;
        let mut consumer = scene.consumer(WORK, 1).await;
        for (text, id) in texts.iter().zip(&expected) {
            let delivery = consumer.next().await;
            let envelope = delivery.envelope();
            assert_eq!(note_in(envelope), format!(r#"{{"text":"{text}"}}"#));
            assert_eq!(envelope.id.as_ref(), Some(id), "of {text}");
            ack(delivery).await;
        }
    }
}

pub async fn what_a_handler_publishes_knows_where_it_comes_from<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let Some(scene) = shared(&harness, &store).await else {
        return;
    };
    let parent = Envelope {
        correlation_id: Some("order 7".to_owned()),
        conversation_id: Some(message_id("the-first-cause")),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        ..message("parent")
    };
    let scope = handling("parent", parent.clone(), Publishing::Queues);
    Work::of([send("child")]).under(scope).done(&harness, &store).await;
    let delivery = scene.consumer(WORK, 1).await.next().await;
    let child = delivery.envelope();
    assert_eq!(child.causation_id, parent.id);
    assert_eq!(child.correlation_id, parent.correlation_id);
    assert_eq!(child.conversation_id, parent.conversation_id);
    assert_eq!(child.traceparent, parent.traceparent);
    ack(delivery).await;
}

pub async fn an_event_of_a_transaction_reaches_every_subscriber_once<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let Some(mut scene) = shared(&harness, &store).await else {
        return;
    };
    let topology = queues(["email", "ledger", "stock"]);
    let twice = [Rule::subject("conformance.*"), Rule::subject("#")];
    let topology = subscribed(topology, "email", "conformance", twice);
    let topology = subscribed(topology, "ledger", "conformance", [Rule::subject("#")]);
    let never = [Rule::subject("conformance.cancelled")];
    scene.declare(subscribed(topology, "stock", "conformance", never)).await;

    let published = Write::Publish(Note::new("a"));
    let work = Work::of([published]).under(outside(Publishing::Queues));
    work.done(&harness, &store).await;
    for queue in ["email", "ledger"] {
        let mut consumer = scene.consumer(queue, 1).await;
        let delivery = consumer.next().await;
        let via = delivery.envelope().via.as_ref().expect("it came through a topic");
        assert_eq!(via.topic.as_str(), "conformance");
        assert_eq!(&*via.subject, "conformance.noted");
        ack(delivery).await;
        scene.send(to_queue(queue, message("end"))).await;
        consumer.ack_all(&["end"]).await;
    }
    scene.send(to_queue("stock", message("end"))).await;
    scene.consumer("stock", 1).await.ack_all(&["end"]).await;
}

pub async fn a_commit_wakes_an_idle_consumer<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let Some(scene) = shared(&harness, &store).await else {
        return;
    };
    let mut consumer = scene.consumer(WORK, 1).await;
    let early = consumer.next_within(Duration::from_millis(50)).await;
    assert!(early.is_none(), "nothing was published yet");
    let work = Work::of([send("a")]).under(outside(Publishing::Queues));
    work.done(&harness, &store).await;
    let what = "to be woken by a commit sooner than a slow poll would find it";
    ack(within(harness.patience() / 10, what, consumer.next()).await).await;
}

/// A queue that is not there is the handler's mistake: it must not be lost quietly.
pub async fn a_send_to_an_unknown_queue_fails_its_transaction<H: StoreHarness>(harness: H) {
    let store = harness.fresh().await;
    let Some(scene) = shared(&harness, &store).await else {
        return;
    };
    let nowhere = Write::Send(queue_name("nowhere"), Note::new("lost"));
    let work = Work::of([send("before"), nowhere]).under(outside(Publishing::Queues));
    let error = match work.commit(&harness, &store).await {
        Err(error) => error.to_string(),
        Ok(committed) => panic!("expected an error, got: {committed:?}"),
    };
    assert!(error.contains("nowhere"), "the error must name the queue: {error}");
    scene.send(to_queue(WORK, message("end"))).await;
    scene.consumer(WORK, 1).await.ack_all(&["end"]).await;
}

fn send(text: &str) -> Write {
    Write::Send(queue_name(WORK), Note::new(text))
}

/// A message that the engine holds back until the commit; it gets its id there.
fn buffer(scope: &Scope, text: &str) -> Outgoing {
    let composed = scope.compose(&Note::new(text), Target::Queue(queue_name(WORK)));
    composed.unwrap_or_else(|failure| panic!("expected a note to be composed, got: {failure}"))
}

fn derived(parent: &str, ordinal: u32) -> MessageId {
    MessageId::derive(&message_id(parent), ENDPOINT, ordinal)
}

fn note_in(envelope: &Envelope) -> String {
    String::from_utf8_lossy(&envelope.body).into_owned()
}
