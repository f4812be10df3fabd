//! Messages to send, and queues of another client to find them in.

use crate::kit::{PATIENCE, Raw};
use lapin::message::BasicGetMessage;
use lapin::options::{BasicAckOptions, BasicGetOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use std::time::{Duration, Instant};
use tramline_core::clock::{Clock, Deadline, SystemClock};
use tramline_core::envelope::Envelope;
use tramline_core::name::{QueueName, QueueRef, TopicName};
use tramline_core::transport::{Destination, Outgoing, Sender, Sent, Transport};
use tramline_core::{Error, ErrorKind};
use tramline_rabbitmq::{RabbitMq, RabbitMqSender};

/// A message of nothing but an id.
pub(crate) fn message(id: &str) -> Envelope {
    Envelope { id: Some(id.parse().unwrap()), body: "{}".into(), ..Envelope::default() }
}

pub(crate) fn main_queue(name: &str) -> Destination {
    Destination::Queue(QueueRef::Main(QueueName::foreign(name)))
}

pub(crate) fn to(to: Destination, envelope: Envelope) -> Outgoing {
    Outgoing { to, envelope: envelope.into(), due: None, copy: None }
}

pub(crate) fn to_queue(queue: &str, id: &str) -> Outgoing {
    to(main_queue(queue), message(id))
}

pub(crate) fn to_topic(topic: &str, subject: &str, id: &str) -> Outgoing {
    let (name, subject) = (TopicName::foreign(topic), subject.to_owned().into());
    to(Destination::Topic { name, subject }, message(id))
}

pub(crate) fn to_exchange(exchange: &str, routing_key: &str, id: &str) -> Outgoing {
    let (exchange, routing_key) = (exchange.to_owned(), routing_key.to_owned());
    to(Destination::Foreign { exchange, routing_key }, message(id))
}

/// `outgoing`, due after `pause`.
pub(crate) fn after(pause: Duration, outgoing: Outgoing) -> Outgoing {
    Outgoing { due: Some(SystemClock.now().after(pause)), ..outgoing }
}

pub(crate) fn within(limit: Duration) -> Deadline {
    Deadline::after(SystemClock.now(), limit)
}

/// What the broker answers to each of `batch`.
pub(crate) async fn answers(sender: &RabbitMqSender, batch: &[Outgoing]) -> Vec<Sent> {
    sender.send(batch, within(PATIENCE)).await
}

/// Sends what must be accepted. Whether it was routed.
pub(crate) async fn accepted(rabbitmq: &RabbitMq, outgoing: Outgoing) -> Option<bool> {
    match answers(&rabbitmq.sender().await.unwrap(), &[outgoing]).await.pop() {
        Some(Sent::Accepted { routed }) => routed,
        refused => panic!("expected it to be accepted: {refused:?}"),
    }
}

/// Sends what must be refused. Why it was.
pub(crate) async fn refused(rabbitmq: &RabbitMq, outgoing: Outgoing, kind: ErrorKind) -> Error {
    match answers(&rabbitmq.sender().await.unwrap(), &[outgoing]).await.pop() {
        Some(Sent::Refused(error)) => {
            assert_eq!(error.kind(), kind, "{error}");
            error
        }
        sent => panic!("expected it to be refused: {sent:?}"),
    }
}

/// A durable queue with these arguments.
pub(crate) async fn declare<const N: usize>(
    raw: &Raw,
    queue: &str,
    arguments: [(&str, AMQPValue); N],
) {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert(name.into(), value);
    }
    raw.channel.queue_declare(queue.into(), options, table).await.unwrap();
}

pub(crate) async fn declare_quorum(raw: &Raw, queue: &str) {
    declare(raw, queue, [("x-queue-type", AMQPValue::LongString("quorum".into()))]).await;
}

/// The next message of `queue`, at once if there is one.
pub(crate) async fn get(raw: &Raw, queue: &str) -> Option<BasicGetMessage> {
    let got = raw.channel.basic_get(queue.into(), BasicGetOptions::default()).await.unwrap()?;
    assert!(got.delivery.acker.ack(BasicAckOptions::default()).await.unwrap());
    Some(got)
}

/// The next message of `queue`.
pub(crate) async fn take(raw: &Raw, queue: &str) -> BasicGetMessage {
    let began = Instant::now();
    loop {
        if let Some(got) = get(raw, queue).await {
            return got;
        }
        assert!(began.elapsed() < PATIENCE, "nothing came to {queue}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The ids of the next `count` messages of `queue`, in their order.
pub(crate) async fn take_ids(raw: &Raw, queue: &str, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    while ids.len() < count {
        ids.push(id_of(&take(raw, queue).await));
    }
    ids
}

pub(crate) fn id_of(got: &BasicGetMessage) -> String {
    got.delivery.properties.message_id().as_ref().expect("an id").to_string()
}

pub(crate) fn ids(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("m{number}")).collect()
}
