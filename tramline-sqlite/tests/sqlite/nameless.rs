//! Messages of foreign senders, which carry no name: the subject they came by stands for it.

use crate::kit::{Place, message, next, receiver, work};
use std::sync::Arc;
use std::time::Duration;
use tramline_core::clock::{Clock, Deadline, SystemClock};
use tramline_core::dead::{History, Reason};
use tramline_core::envelope::{Envelope, Via};
use tramline_core::name::TopicName;
use tramline_core::operate::{Operate, Redrive};
use tramline_core::settlement::{Marks, Settlement};
use tramline_core::topology::{QueueSpec, Rule, Subscription, Topology};
use tramline_core::transport::{CopyOf, Delivery, Destination, Outgoing, Sender, Transport};
use tramline_sqlite::Sqlite;

/// Sends a message without a name to a topic that `work` has subscribed to.
async fn publish(sqlite: &Sqlite) {
    let topic = TopicName::new("orders").unwrap();
    let rules = vec![Rule::subject("#")];
    let topology = Topology {
        queues: vec![QueueSpec::new(work())],
        subscriptions: vec![Subscription { queue: work(), topic: topic.clone(), rules }],
        ..Topology::default()
    };
    sqlite.declare(&topology).await.unwrap();
    let to = Destination::Topic { name: topic, subject: "orders.placed".into() };
    put(sqlite, Outgoing { to, envelope: nameless(None), due: None, copy: None }).await;
}

fn nameless(via: Option<Via>) -> Arc<Envelope> {
    let envelope = Envelope::clone(&message("foreign").envelope);
    Arc::new(Envelope { name: None, via, ..envelope })
}

async fn put(sqlite: &Sqlite, outgoing: Outgoing) {
    let deadline = Deadline::after(SystemClock.now(), crate::kit::PATIENCE);
    for sent in sqlite.sender().await.unwrap().send(&[outgoing], deadline).await {
        sent.into_result().unwrap();
    }
}

#[tokio::test]
async fn a_retry_of_a_message_without_a_name_goes_by_its_subject() {
    let place = Place::new();
    let sqlite = place.open().await;
    publish(&sqlite).await;
    let mut consumer = receiver(&sqlite, 1).await;
    let delivery = next(&mut consumer).await;
    assert_eq!(delivery.envelope().name, None);
    let after = Duration::from_millis(5);
    let retry =
        Settlement::Retry { after, failures: 1, notes: Vec::new(), marks: Marks::default() };
    delivery.settle(retry).await.unwrap();
    let again = next(&mut consumer).await;
    assert_eq!(again.envelope().name.as_deref(), Some("orders.placed"));
    assert_eq!(again.envelope().via, None);
}

#[tokio::test]
async fn a_redriven_message_without_a_name_goes_by_its_subject() {
    let place = Place::new();
    let sqlite = place.open().await;
    publish(&sqlite).await;
    let mut consumer = receiver(&sqlite, 1).await;
    let reason = Reason::from("failed".to_owned());
    let bury = Settlement::DeadLetter { reason, failures: 1, notes: Vec::new() };
    next(&mut consumer).await.settle(bury).await.unwrap();
    assert_eq!(sqlite.redrive(&work(), Redrive::all()).await.unwrap(), 1);
    assert_eq!(next(&mut consumer).await.envelope().name.as_deref(), Some("orders.placed"));
}

#[tokio::test]
async fn a_copy_of_a_message_without_a_name_goes_by_its_subject() {
    let place = Place::new();
    let sqlite = place.open().await;
    let topic = TopicName::new("orders").unwrap();
    let via = Via { topic, subject: "orders.placed".into() };
    let copy = CopyOf::Retry { failures: 1, history: History::new(), marks: Marks::default() };
    let to = message("foreign").to;
    let outgoing = Outgoing { to, envelope: nameless(Some(via)), due: None, copy: Some(copy) };
    put(&sqlite, outgoing).await;
    let delivery = next(&mut receiver(&sqlite, 1).await).await;
    assert_eq!(delivery.envelope().name.as_deref(), Some("orders.placed"));
}
