//! What cannot be done is refused with its name; what is wrong is told as a whole.

use crate::kit::{Scene, message, take_nothing, work};
use std::sync::Arc;
use tramline_core::ErrorKind;
use tramline_core::filter::Filter;
use tramline_core::name::{QueueName, TopicName};
use tramline_core::operate::Operate;
use tramline_core::topology::{QueueSpec, Rule, Subscription, Topology};
use tramline_core::transport::{Destination, Outgoing, Sent, Transport};
use tramline_memory::Memory;

#[tokio::test]
async fn everything_that_a_queue_cannot_have_is_named_at_once() {
    let spec = QueueSpec {
        arguments: ["x-queue-type", "x-queue-mode"]
            .map(|name| (name.to_owned(), "a".to_owned()))
            .into(),
        ..QueueSpec::new(work())
    };
    let memory = Memory::new();
    let topology = Topology { queues: vec![spec], ..Topology::default() };
    let error = memory.declare(&topology).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let text = error.to_string();
    for wish in ["work", "`x-queue-mode`", "`x-queue-type`"] {
        assert!(text.contains(wish), "{wish} in: {text}");
    }
}

#[tokio::test]
async fn a_refused_declaration_leaves_nothing_behind() {
    let memory = Memory::new();
    let other = QueueName::new("other").unwrap();
    let arguments = [("x-queue-type".to_owned(), "quorum".to_owned())].into();
    let strange = QueueSpec { arguments, ..QueueSpec::new(other) };
    let queues = vec![QueueSpec::new(work()), strange];
    memory.declare(&Topology { queues, ..Topology::default() }).await.unwrap_err();
    assert_eq!(memory.queues().await.unwrap(), []);
}

#[tokio::test]
async fn every_fault_of_a_subscription_is_told() {
    let scene = Scene::new().await;
    let bad = Rule { subject: "orders..".to_owned(), filter: Filter::sql("total >") };
    let error = scene.memory.declare(&subscribed(vec![bad])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    let text = error.to_string();
    assert!(text.contains("orders..") && text.contains("total >"), "{text}");
}

#[tokio::test]
async fn a_subscription_of_a_queue_that_nobody_declared_is_refused() {
    let error = Memory::new().declare(&subscribed(vec![Rule::subject("#")])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_only_other_brokers_have_is_refused_and_nothing_is_sent() {
    let scene = Scene::new().await;
    let foreign = Destination::Foreign { exchange: "amq.topic".into(), routing_key: "a".into() };
    let answers = scene.answers(&[Outgoing { to: foreign, ..message("a") }]).await;
    match &answers[..] {
        [Sent::Refused(error)] => assert_eq!(error.kind(), ErrorKind::Unsupported),
        other => panic!("expected a refusal, got {other:?}"),
    }
    take_nothing(&mut scene.receiver().await).await;
}

#[tokio::test]
async fn a_fan_out_shares_one_envelope() {
    let scene = Scene::new().await;
    let email = QueueName::new("email").unwrap();
    let mut topology = subscribed(vec![Rule::subject("#")]);
    topology.queues = vec![QueueSpec::new(work()), QueueSpec::new(email.clone())];
    let second = Subscription { queue: email.clone(), ..topology.subscriptions[0].clone() };
    topology.subscriptions.push(second);
    scene.memory.declare(&topology).await.unwrap();
    let to = Destination::Topic { name: orders(), subject: "orders.placed".into() };
    scene.send([Outgoing { to, ..message("a") }]).await;

    let mut envelopes = Vec::new();
    for queue in [work(), email] {
        let queue = tramline_core::name::QueueRef::Main(queue);
        envelopes.extend(scene.memory.peek(&queue, None, 1).await.unwrap());
    }
    assert!(Arc::ptr_eq(&envelopes[0].envelope, &envelopes[1].envelope));
    assert!(envelopes[0].envelope.via.is_some());
}

fn orders() -> TopicName {
    TopicName::new("orders").unwrap()
}

fn subscribed(rules: Vec<Rule>) -> Topology {
    let subscriptions = vec![Subscription { queue: work(), topic: orders(), rules }];
    Topology { subscriptions, ..Topology::default() }
}
