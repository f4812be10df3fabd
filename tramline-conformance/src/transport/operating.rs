//! What operators see is right, and looking takes nothing.

use super::dead_letters::kill;
use crate::TransportHarness;
use crate::kit::consumer::{ack, settle};
use crate::kit::engine::{Failed, dead_letter};
use crate::kit::message::{
    assert_same, complete_message, message, message_id, messages, queue_name, to_queue, to_topic,
    topic_name,
};
use crate::kit::operator::{Expected, assert_depth, offered, peek, peek_dead, peeked_ids};
use crate::kit::scene::{Scene, WORK, assert_kind};
use crate::kit::time::{due_in, now, until};
use crate::kit::topology::{queues, subscribed};
use std::future::ready;
use std::time::Duration;
use tramline_core::capabilities::DeliveryCount;
use tramline_core::dead::Reason;
use tramline_core::envelope::Envelope;
use tramline_core::name::QueueRef;
use tramline_core::operate::{DeadVisitor, Peeked};
use tramline_core::settlement::Settlement;
use tramline_core::topology::Rule;
use tramline_core::transport::{Delivery, Outgoing, Transport};
use tramline_core::{BoxFuture, Error, ErrorKind};

pub async fn depths_are_right_at_once_or_unknown<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let mut depth = Expected::default();
    assert_depth(&scene, WORK, depth, "when new").await;

    kill(&scene, &["dead"]).await;
    depth.dead = 1;
    scene.send_all(&messages(WORK, ["a", "b", "c"])).await;
    depth.ready = 3;
    assert_depth(&scene, WORK, depth, "after three were sent").await;

    if scene.can(WORK).delay.is_some() {
        let due = Some(due_in(Duration::from_secs(3600)));
        let delayed = Outgoing { due, ..to_queue(WORK, message("later")) };
        scene.send(delayed).await;
        depth.delayed = 1;
        assert_depth(&scene, WORK, depth, "with one delayed").await;
    }

    let mut consumer = scene.consumer(WORK, 1).await;
    let held = consumer.next_is("a").await;
    (depth.ready, depth.leased) = (2, 1);
    assert_depth(&scene, WORK, depth, "with one delivered").await;
    consumer.stop().await;
    settle(held, Settlement::Return).await;
    (depth.ready, depth.leased) = (3, 0);
    assert_depth(&scene, WORK, depth, "after it was returned").await;

    let mut consumer = scene.consumer(WORK, 1).await;
    let held = consumer.next().await;
    consumer.stop().await;
    ack(held).await;
    depth.ready = 2;
    assert_depth(&scene, WORK, depth, "after one was acked").await;
}

pub async fn peeking_takes_nothing_and_goes_on_from_a_position<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let main = QueueRef::Main(queue_name(WORK));
    scene.send_all(&messages(WORK, ["a", "b", "c"])).await;
    let Some(peeked) = peek(&scene, &main).await else {
        return;
    };
    assert_eq!(peeked_ids(&peeked), ["a", "b", "c"]);
    assert_same(&peeked[0].envelope, &message("a"));
    assert_eq!((peeked[0].failures, &peeked[0].death), (0, &None));

    let operator = scene.transport.operate().expect("it answered just now");
    let first = operator.peek(&main, None, 2).await;
    let first = first.unwrap_or_else(|error| panic!("expected a first page, got: {error}"));
    assert_eq!(peeked_ids(&first), ["a", "b"]);
    let second = operator.peek(&main, Some(first[1].position), 2).await;
    let second = second.unwrap_or_else(|error| panic!("expected a second page, got: {error}"));
    assert_eq!(peeked_ids(&second), ["c"]);

    let mut consumer = scene.consumer(WORK, 1).await;
    for id in ["a", "b", "c"] {
        let delivery = consumer.next_is(id).await;
        if scene.can(WORK).deliveries == DeliveryCount::Unheard {
            assert_eq!(delivery.deliveries(), Some(1), "peeking is no delivery");
        }
        ack(delivery).await;
    }
}

pub async fn all_dead_letters_are_shown_in_their_order_and_stay<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let ids: Vec<String> = (0..40).map(|number| format!("m{number:02}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    kill(&scene, &ids).await;
    let sent = Envelope { expires_at: None, ..complete_message() };
    scene.send(to_queue(WORK, sent.clone())).await;
    let delivery = scene.consumer(WORK, 1).await.next().await;
    dead_letter(&scene, WORK, delivery, Reason::Permanent, Failed::again(3)).await;
    let Some(before) = peek_dead(&scene, WORK).await else {
        return;
    };
    assert_eq!(before.len(), 41);
    let operator = scene.transport.operate().expect("it answered just now");
    for _ in 0..2 {
        let mut shown = Shown::default();
        let count = operator.visit_dead(&queue_name(WORK), &mut shown).await;
        assert_eq!(count.unwrap_or_else(|error| panic!("expected 41, got: {error}")), 41);
        assert_eq!(shown.0, before);
    }
    // Nothing is lost on the way to a line and back.
    let lines = before.iter().map(|dead| Peeked::from_json_line(&dead.to_json_line()));
    let read: Vec<Peeked> = lines.collect::<Result<_, Error>>().expect("lines that were written");
    assert_eq!(read, before);
    assert_same(&read[40].envelope, &sent);

    let mut refusing = Shown(Vec::new(), Some(Error::new(ErrorKind::Full, "write a line")));
    let ended = operator.visit_dead(&queue_name(WORK), &mut refusing).await;
    assert_kind(&ended.expect_err("expected the visitor's error"), ErrorKind::Full);
    assert!(refusing.0.len() < 41, "a visit ends when its visitor fails");
    let after = peek_dead(&scene, WORK).await.expect("it was offered before");
    assert_eq!(peeked_ids(&after), peeked_ids(&before), "which dead letters are left");
}

/// What was shown, and with which error to answer to it.
#[derive(Default)]
struct Shown(Vec<Peeked>, Option<Error>);

impl DeadVisitor for Shown {
    fn visit(&mut self, page: Vec<Peeked>) -> BoxFuture<'_, Result<(), Error>> {
        assert!(!page.is_empty(), "an empty page");
        self.0.extend(page);
        Box::pin(ready(self.1.clone().map_or(Ok(()), Err)))
    }
}

pub async fn a_message_is_found_by_its_id_wherever_it_is<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    kill(&scene, &["dead"]).await;
    scene.send_all(&messages(WORK, ["a", "b"])).await;
    let Some(operator) = scene.transport.operate() else {
        return;
    };
    let main = QueueRef::Main(queue_name(WORK));
    let dead = QueueRef::Dead(queue_name(WORK));
    for (queue, id, there) in [
        (&main, "b", true),
        (&main, "dead", false),
        (&dead, "dead", true),
        (&dead, "a", false),
        (&main, "unknown", false),
    ] {
        let Some(found) = offered(operator.find(queue, &message_id(id)).await) else {
            return;
        };
        assert_eq!(found.is_some(), there, "whether {id} is in {queue}");
        if let Some(found) = found {
            assert_same(&found.envelope, &message(id));
            assert_eq!(found.death.is_some(), queue == &dead, "{id} in {queue}");
        }
    }
}

pub async fn a_purge_removes_what_is_ready_and_nothing_else<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    kill(&scene, &["dead"]).await;
    scene.send_all(&messages(WORK, ["held", "b", "c"])).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    let held = consumer.next_is("held").await;
    let Some(operator) = scene.transport.operate() else {
        return;
    };
    let main = QueueRef::Main(queue_name(WORK));
    let Some(purged) = offered(operator.purge(&main).await) else {
        return;
    };
    assert_eq!(purged, 2, "of b and c");
    settle(held, Settlement::Return).await;
    scene.send(to_queue(WORK, message("end"))).await;
    consumer.ack_all(&["held", "end"]).await;

    let dead = QueueRef::Dead(queue_name(WORK));
    if let Some(purged) = offered(operator.purge(&dead).await) {
        assert_eq!(purged, 1, "of the dead letters");
    }
}

pub async fn an_ended_subscription_gets_nothing_more<H: TransportHarness>(harness: H) {
    let topology = subscribed(queues([WORK]), WORK, "orders", [Rule::subject("#")]);
    let scene = Scene::with(&harness, topology).await;
    let placed = |id| to_topic("orders", "orders.placed", message(id));
    scene.send(placed("before")).await;
    let Some(operator) = scene.transport.operate() else {
        return;
    };
    let (queue, topic) = (queue_name(WORK), topic_name("orders"));
    let Some(ended) = offered(operator.unsubscribe(&queue, &topic).await) else {
        return;
    };
    assert!(ended, "there was a subscription");
    scene.send(placed("after")).await;
    scene.send(to_queue(WORK, message("end"))).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    consumer.ack_all(&["before", "end"]).await;
    let again = offered(operator.unsubscribe(&queue, &topic).await);
    assert_eq!(again, Some(false), "there is no subscription any more");
}

pub async fn what_was_declared_is_listed<H: TransportHarness>(harness: H) {
    let topology = queues([WORK, "email"]);
    let topology = subscribed(topology, "email", "orders", [Rule::subject("orders.*")]);
    let scene = Scene::with(&harness, topology.clone()).await;
    let Some(operator) = scene.transport.operate() else {
        return;
    };
    if let Some(listed) = offered(operator.queues().await) {
        assert_eq!(listed, ["email", WORK].map(queue_name), "queues, by name");
    }
    if let Some(listed) = offered(operator.subscriptions().await) {
        assert_eq!(listed, topology.subscriptions);
    }
}

pub async fn the_age_is_that_of_the_oldest_ready_message<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let Some(operator) = scene.transport.operate() else {
        return;
    };
    let queue = queue_name(WORK);
    let Some(age) = offered(operator.age(&queue).await) else {
        return;
    };
    assert_eq!(age, None, "nothing waits in a new queue");
    let before = now();
    scene.send(to_queue(WORK, message("a"))).await;
    let sent = now();
    until(sent.after(Duration::from_millis(50))).await;
    scene.send(to_queue(WORK, message("b"))).await;
    let asked = now();
    let Some(age) = offered(operator.age(&queue).await).flatten() else {
        return;
    };
    // Rounded to milliseconds, as some brokers count.
    let millis = Duration::from_millis(1);
    assert!(age + millis >= asked.since(sent), "{age:?} is less than a has waited");
    assert!(age <= now().since(before) + millis, "{age:?} is more than a has waited");
}

pub async fn a_subscription_that_nobody_asks_for_any_more_is_an_orphan_and_still_gets_messages<
    H: TransportHarness,
>(
    harness: H,
) {
    let plain = || queues([WORK, "email"]);
    let both = subscribed(plain(), WORK, "orders", [Rule::subject("#")]);
    let both = subscribed(both, WORK, "stock", [Rule::subject("#")]);
    let both = subscribed(both, "email", "orders", [Rule::subject("#")]);
    let mut scene = Scene::with(&harness, both.clone()).await;
    let orphans = async |scene: &Scene<H::Transport>| {
        let operator = scene.transport.operate()?;
        let orphans = offered(operator.orphans().await)?;
        let named =
            orphans.iter().map(|orphan| (orphan.queue.to_string(), orphan.topic.to_string()));
        Some(named.collect::<Vec<_>>())
    };
    let Some(none) = orphans(&scene).await else {
        return;
    };
    assert_eq!(none, [], "everything was asked for");

    // Another program declares another queue: it has no say about the subscriptions of this one.
    scene.declare(queues(["another"])).await;
    assert_eq!(orphans(&scene).await, Some(Vec::new()));
    // The next version of the program asks for less.
    let less = subscribed(queues([WORK]), WORK, "stock", [Rule::subject("#")]);
    scene.declare(less).await;
    let orphan = (WORK.to_owned(), "orders".to_owned());
    assert_eq!(orphans(&scene).await, Some(vec![orphan]));
    scene.send(to_topic("orders", "orders.placed", message("a"))).await;
    scene.consumer(WORK, 1).await.ack_all(&["a"]).await;

    // Asked for again, it is none; and a subscription that was ended is none either.
    scene.declare(both).await;
    assert_eq!(orphans(&scene).await, Some(Vec::new()));
    scene.declare(queues([WORK])).await;
    let operator = scene.transport.operate().expect("it answered just now");
    for topic in ["orders", "stock"] {
        let ended = operator.unsubscribe(&queue_name(WORK), &topic_name(topic)).await;
        assert_eq!(offered(ended), Some(true), "an operator ends {topic}");
    }
    assert_eq!(orphans(&scene).await, Some(Vec::new()));
}
