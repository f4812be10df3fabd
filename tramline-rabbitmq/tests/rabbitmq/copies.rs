//! A copy of another client's message has all that the message had.

use crate::kit::{Connect, PATIENCE, Vhost};
use crate::messages::{answers, take};
use crate::receiving::{ack, next, send, source};
use crate::topologies::{QUEUE, queue, spec};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use std::sync::Arc;
use std::time::Duration;
use tramline_core::clock::{Clock, SystemClock};
use tramline_core::dead::{History, Reason};
use tramline_core::envelope::Envelope;
use tramline_core::name::QueueRef;
use tramline_core::operate::{Operate, Redrive};
use tramline_core::settlement::Marks;
use tramline_core::transport::{CopyOf, Delivery, Destination, Outgoing, Transport};
use tramline_rabbitmq::RabbitMq;

async fn copied(broker: &RabbitMq, envelope: Arc<Envelope>, to: QueueRef, copy: CopyOf) {
    let due = matches!(copy, CopyOf::Retry { .. })
        .then(|| SystemClock.now().after(Duration::from_millis(50)));
    let outgoing = Outgoing { to: Destination::Queue(to), envelope, due, copy: Some(copy) };
    let answers = answers(&broker.sender().await.unwrap(), &[outgoing]).await;
    assert!(answers[0].is_accepted(), "{answers:?}");
}

#[tokio::test]
async fn retries_dead_letters_and_redrives_keep_every_property() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, broker) = (vhost.raw().await, vhost.connect().await);
    broker.declare(&queue(spec())).await.unwrap();
    let mut headers = FieldTable::default();
    headers.insert("tenant".into(), AMQPValue::LongString("eu".into()));
    let user = vhost.url.username();
    let sent = BasicProperties::default()
        .with_message_id("m-1".into())
        .with_type("order.placed".into())
        .with_content_type("application/json".into())
        .with_content_encoding("identity".into())
        .with_correlation_id("shop-1".into())
        .with_reply_to("answers".into())
        .with_app_id("shop".into())
        .with_cluster_id("c1".into())
        .with_user_id(user.into())
        .with_timestamp(1_700_000_000)
        .with_priority(3)
        .with_headers(headers);
    send(&raw, &sent, ["{}".to_owned()]).await;

    let mut receiver = broker.receiver(&source(1)).await.unwrap();
    let (work, dead) = (QueueRef::Main(spec().name), QueueRef::Dead(spec().name));
    let history = History::new();
    let marks = Marks::default();
    let first = next(&mut receiver).await;
    let retry = CopyOf::Retry { failures: 1, history: history.clone(), marks };
    copied(&broker, first.envelope().clone(), work, retry).await;
    ack(first).await;
    let second = next(&mut receiver).await;
    let reason = Reason::Permanent;
    let letter = CopyOf::DeadLetter { reason, failures: 2, history };
    copied(&broker, second.envelope().clone(), dead, letter).await;
    ack(second).await;
    drop(receiver);
    let redriving =
        async { while broker.redrive(&spec().name, Redrive::all()).await.unwrap() == 0 {} };
    tokio::time::timeout(PATIENCE, redriving).await.expect("a dead letter to redrive");

    let copy = take(&raw, QUEUE).await.delivery.properties;
    let native = |properties: &BasicProperties| {
        let named = properties.clone().with_headers(FieldTable::default());
        // Not the sender's own, which the broker would refuse.
        named.with_user_id("".into()).with_delivery_mode(2)
    };
    assert_eq!(native(&copy), native(&sent));
    let headers = copy.headers().clone().unwrap_or_default();
    let header = |name: &str| headers.inner().get(name).cloned();
    assert_eq!(copy.user_id(), &None);
    assert_eq!(header("amqp_user_id"), Some(AMQPValue::LongString(user.into())));
    assert_eq!(header("tenant"), Some(AMQPValue::LongString("eu".into())));
}
