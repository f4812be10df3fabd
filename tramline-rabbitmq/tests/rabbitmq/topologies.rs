//! What is declared in tests, and how a refusal is looked at.

use crate::kit::{PATIENCE, Raw};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use std::time::Duration;
use tramline_core::name::{QueueName, TopicName};
use tramline_core::topology::{QueueSpec, Rule, Subscription, Topology};
use tramline_core::transport::Transport;
use tramline_core::{Error, ErrorKind};
use tramline_rabbitmq::RabbitMq;

pub(crate) const QUEUE: &str = "work";

pub(crate) fn spec() -> QueueSpec {
    QueueSpec::new(QueueName::foreign(QUEUE))
}

pub(crate) fn with<const N: usize>(arguments: [(&str, &str); N]) -> QueueSpec {
    let arguments = arguments.map(|(name, text)| (name.to_owned(), text.to_owned()));
    QueueSpec { arguments: arguments.into(), ..spec() }
}

pub(crate) fn queue(spec: QueueSpec) -> Topology {
    Topology { queues: vec![spec], ..Topology::default() }
}

/// The queue, which gets of topic `orders` what the rules let through.
pub(crate) fn subscribed(rules: impl IntoIterator<Item = Rule>) -> Topology {
    let topic = TopicName::foreign("orders");
    let rules = rules.into_iter().collect();
    let subscription = Subscription { queue: spec().name, topic: topic.clone(), rules };
    Topology { topics: vec![topic], subscriptions: vec![subscription], ..queue(spec()) }
}

pub(crate) async fn refused(broker: &RabbitMq, topology: &Topology) -> Error {
    broker.declare(topology).await.expect_err("expected a refusal")
}

pub(crate) fn assert_says(error: &Error, kind: ErrorKind, words: &[&str]) {
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for word in words {
        assert!(text.contains(word), "expected {word:?}: {text}");
    }
}

/// A queue that another client declares.
pub(crate) async fn raw_queue(raw: &Raw, name: &str, arguments: FieldTable) {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    raw.channel.queue_declare(name.into(), options, arguments).await.unwrap();
}

/// What the broker shows once it shows it: it tells nobody, so it is asked again and again.
///
/// # Panics
/// If it never does.
pub(crate) async fn shown<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let looked = async {
        loop {
            if let Some(seen) = look() {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.unwrap_or_else(|_| panic!("expected {what}"))
}
