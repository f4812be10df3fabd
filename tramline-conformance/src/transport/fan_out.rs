//! A topic gives every queue that subscribed exactly one copy.

use crate::TransportHarness;
use crate::kit::consumer::ack;
use crate::kit::engine::{Failed, retry};
use crate::kit::message::{assert_same, complete_message, message, to_queue, to_topic};
use crate::kit::scene::Scene;
use crate::kit::topology::{queues, subscribed};
use std::time::Duration;
use tramline_core::envelope::Envelope;
use tramline_core::filter::Filter;
use tramline_core::topology::{Rule, Topology};
use tramline_core::transport::Delivery;

/// `email` by three rules that overlap, `ledger` by one, `stock` to another topic.
fn shop() -> Topology {
    let everything = Rule { subject: "#".to_owned(), filter: Filter::All };
    let overlapping = [Rule::subject("orders.placed"), Rule::subject("orders.*"), everything];
    let topology = queues(["email", "ledger", "stock"]);
    let topology = subscribed(topology, "email", "orders", overlapping);
    let topology = subscribed(topology, "ledger", "orders", [Rule::subject("#")]);
    subscribed(topology, "stock", "goods", [Rule::subject("#")])
}

/// What is sent to each queue afterwards shows that nothing else stands before it.
const END: &str = "end";

pub async fn each_subscribed_queue_gets_one_copy_however_many_rules_match<H: TransportHarness>(
    harness: H,
) {
    let scene = Scene::with(&harness, shop()).await;
    let published = to_topic("orders", "orders.placed", complete_message());
    scene.send(published.clone()).await;
    for queue in ["email", "ledger", "stock"] {
        scene.send(to_queue(queue, message(END))).await;
    }
    for queue in ["email", "ledger"] {
        let mut consumer = scene.consumer(queue, 1).await;
        let copy = consumer.next().await;
        assert_same(copy.envelope(), &published.envelope);
        ack(copy).await;
        consumer.ack_all(&[END]).await;
    }
    scene.consumer("stock", 1).await.ack_all(&[END]).await;
}

pub async fn each_copy_is_settled_by_itself<H: TransportHarness>(harness: H) {
    let scene = Scene::with(&harness, shop()).await;
    scene.send(to_topic("orders", "orders.placed", message("a"))).await;
    let mut email = scene.consumer("email", 1).await;
    let failing = email.next_is("a").await;
    retry(&scene, "email", failing, Duration::ZERO, Failed::again(1)).await;

    let mut ledger = scene.consumer("ledger", 1).await;
    let copy = ledger.next_is("a").await;
    assert_eq!(copy.failures(), 0, "ledger's copy did not fail");
    ack(copy).await;
    scene.send(to_queue("ledger", message(END))).await;
    ledger.ack_all(&[END]).await;

    let again = email.next_is("a").await;
    assert_eq!(again.failures(), 1, "email's copy failed once");
    ack(again).await;
}

pub async fn what_is_sent_to_a_queue_goes_to_no_other<H: TransportHarness>(harness: H) {
    let scene = Scene::with(&harness, shop()).await;
    scene.send(to_queue("email", message("a"))).await;
    for queue in ["email", "ledger", "stock"] {
        scene.send(to_queue(queue, message(END))).await;
    }
    scene.consumer("email", 1).await.ack_all(&["a", END]).await;
    scene.consumer("ledger", 1).await.ack_all(&[END]).await;
    scene.consumer("stock", 1).await.ack_all(&[END]).await;
}

/// The engine filters only what came through a topic, and `via` is what it asks.
pub async fn only_what_came_through_a_topic_says_so<H: TransportHarness>(harness: H) {
    let scene = Scene::with(&harness, shop()).await;
    let published = to_topic("orders", "orders.placed", message("published"));
    let stale = Envelope { via: published.envelope.via.clone(), ..message("sent") };
    scene.send_all(&[published.clone(), to_queue("email", stale)]).await;

    let mut consumer = scene.consumer("email", 1).await;
    let delivery = consumer.next_is("published").await;
    assert_eq!(delivery.envelope().via, published.envelope.via);
    ack(delivery).await;
    let delivery = consumer.next_is("sent").await;
    assert_eq!(delivery.envelope().via, None, "it was sent straight to the queue");
    ack(delivery).await;
}
