//! What the broker itself kills is a dead letter like any other, with the reason in our words.

use crate::orders::{QUEUE, bus, dead_letters, declared, next, raw_send, raw_send_with, work};
use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, BasicNackOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use tramline::core::dead::Reason;
use tramline::core::topology::QueueSpec;
use tramline::{Endpoint, QueueName};
use tramline_services::testing::Vhost;

/// The dead letter of `work` that an operator sees, and which is handled once it was redriven.
async fn assert_dies_of(vhost: &Vhost, endpoint: Endpoint, reason: Reason) {
    // The operator reads nothing of the queue.
    let (watching, _heard) = bus(vhost).await;
    let operator = watching.start().await.unwrap();
    let dead = dead_letters(&operator, 1).await;
    assert_eq!(dead.len(), 1, "{dead:?}");
    let death = dead[0].death.as_ref().expect("a record");
    assert_eq!((&death.reason, death.failures), (&reason, 0));
    assert_eq!(dead[0].envelope.body, &br#"{"order":1}"#[..]);
    let groups = operator.dead_letters(QUEUE).unwrap().groups().await.unwrap();
    assert_eq!(groups[0].reason, reason.as_str());

    let (working, mut heard) = bus(vhost).await;
    let _working = working.endpoint(endpoint).start().await.unwrap();
    while operator.dead_letters(QUEUE).unwrap().redrive_all().await.unwrap() == 0 {}
    while next(&mut heard).await != 1 {}
}

#[tokio::test]
async fn what_outlives_the_time_of_its_queue_has_expired() {
    let Some(vhost) = Vhost::fresh() else { return };
    let endpoint = || work().argument("x-message-ttl", "200");
    declared(&vhost, endpoint()).await;
    raw_send(&vhost.raw().await, "", QUEUE, br#"{"order":1}"#).await;
    assert_dies_of(&vhost, endpoint(), Reason::Expired).await;
}

#[tokio::test]
async fn what_outlives_its_own_time_has_expired() {
    let Some(vhost) = Vhost::fresh() else { return };
    declared(&vhost, work()).await;
    let properties = BasicProperties::default().with_expiration("50".into());
    raw_send_with(&vhost.raw().await, "", QUEUE, br#"{"order":1}"#, properties).await;
    assert_dies_of(&vhost, work(), Reason::Expired).await;
}

#[tokio::test]
async fn what_is_dropped_for_want_of_room_says_so() {
    let Some(vhost) = Vhost::fresh() else { return };
    let endpoint = || work().argument("x-max-length", "1").argument("x-overflow", "drop-head");
    declared(&vhost, endpoint()).await;
    let raw = vhost.raw().await;
    raw_send(&raw, "", QUEUE, br#"{"order":1}"#).await;
    raw_send(&raw, "", QUEUE, br#"{"order":2}"#).await;
    assert_dies_of(&vhost, endpoint(), Reason::Other("maxlen".to_owned())).await;
}

#[tokio::test]
async fn what_is_delivered_too_often_is_poison() {
    let Some(vhost) = Vhost::fresh() else { return };
    let spec = QueueSpec { delivery_limit: Some(1), ..QueueSpec::new(QueueName::foreign(QUEUE)) };
    let endpoint = || work().queue_spec(spec.clone());
    declared(&vhost, endpoint()).await;
    let raw = vhost.raw().await;
    raw_send(&raw, "", QUEUE, br#"{"order":1}"#).await;
    let mut returned = 0;
    while returned < 2 {
        let got = raw.channel.basic_get(QUEUE.into(), BasicGetOptions::default()).await.unwrap();
        let Some(got) = got else { continue };
        let requeue = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        got.delivery.acker.nack(requeue).await.unwrap();
        returned += 1;
    }
    assert_dies_of(&vhost, endpoint(), Reason::Poison).await;
}

/// Somebody else has declared it, and leads its dead letters to where we look for them.
#[tokio::test]
async fn what_dies_in_a_queue_that_was_joined_is_read_the_same_way() {
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut arguments = FieldTable::default();
    arguments.insert("x-dead-letter-exchange".into(), text(""));
    arguments.insert("x-dead-letter-routing-key".into(), text("work-dlq"));
    arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(500));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    raw.channel.queue_declare(QUEUE.into(), options, arguments).await.unwrap();
    let endpoint = || work().argument("declare", "no").argument("queue-type", "classic");
    declared(&vhost, endpoint()).await;
    raw_send(&raw, "", QUEUE, br#"{"order":1}"#).await;
    assert_dies_of(&vhost, endpoint(), Reason::Expired).await;
}
