//! Messages of any client are taken, and the broker hears how that ended.

use crate::kit::{Connect, PATIENCE, Raw, Vhost};
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, DecimalValue, FieldTable};
use lapin::{BasicProperties, Confirmation, PublisherConfirm};
use std::collections::BTreeMap;
use std::time::Duration;
use tramline_core::ErrorKind;
use tramline_core::clock::{Clock, Deadline, SystemClock};
use tramline_core::headers::{HeaderValue, Headers};
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::settlement::{Settled, Settlement};
use tramline_core::topology::Topology;
use tramline_core::transport::Transport;
use tramline_core::transport::{Delivery, Receiver, Source};
use tramline_rabbitmq::{RabbitMq, RabbitMqDelivery, RabbitMqReceiver};

const QUEUE: &str = "work";

pub(crate) fn source(prefetch: u32) -> Source {
    Source::of(QueueRef::Main(QueueName::new(QUEUE).unwrap()), prefetch)
}

fn table<const N: usize>(pairs: [(&str, AMQPValue); N]) -> FieldTable {
    BTreeMap::from_iter(pairs.map(|(name, value)| (name.into(), value))).into()
}

pub(crate) async fn declare(raw: &Raw, kind: &str) {
    declare_with(raw, kind, []).await;
}

/// Declares the queue with `arguments` beside its kind.
pub(crate) async fn declare_with<const N: usize>(
    raw: &Raw,
    kind: &str,
    arguments: [(&str, AMQPValue); N],
) {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let mut arguments = table(arguments);
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
    raw.channel.queue_declare(QUEUE.into(), options, arguments).await.unwrap();
}

/// Sends each body as another client would, and waits until all are safe.
pub(crate) async fn send(
    raw: &Raw,
    properties: &BasicProperties,
    bodies: impl IntoIterator<Item = String>,
) {
    raw.channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let mut confirms = Vec::new();
    for body in bodies {
        confirms.push(publish(raw, properties, &body).await);
    }
    for confirm in confirms {
        assert_eq!(confirm.await.unwrap(), Confirmation::Ack(None), "there is no queue");
    }
}

async fn publish(raw: &Raw, properties: &BasicProperties, body: &str) -> PublisherConfirm {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let (exchange, properties) = ("".into(), properties.clone());
    let sent =
        raw.channel.basic_publish(exchange, QUEUE.into(), options, body.as_bytes(), properties);
    sent.await.unwrap()
}

/// Sends `body` again and again until there is a queue for it.
async fn send_when_there(raw: &Raw, body: &str) {
    raw.channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let sent = async {
        while publish(raw, &BasicProperties::default(), body).await.await.unwrap()
            != Confirmation::Ack(None)
        {}
    };
    tokio::time::timeout(PATIENCE, sent).await.expect("a queue in time");
}

pub(crate) async fn send_numbers(raw: &Raw, numbers: std::ops::Range<u32>) {
    send(raw, &BasicProperties::default(), numbers.map(|number| number.to_string())).await;
}

pub(crate) async fn next(receiver: &mut RabbitMqReceiver) -> RabbitMqDelivery {
    next_or_end(receiver).await.expect("the receiver ended")
}

pub(crate) async fn next_or_end(receiver: &mut RabbitMqReceiver) -> Option<RabbitMqDelivery> {
    let next = tokio::time::timeout(PATIENCE, receiver.next()).await;
    next.expect("a message or the end in time").unwrap()
}

pub(crate) async fn take(receiver: &mut RabbitMqReceiver, count: usize) -> Vec<RabbitMqDelivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.push(next(receiver).await);
    }
    taken
}

pub(crate) fn body(delivery: &RabbitMqDelivery) -> String {
    String::from_utf8(delivery.envelope().body.to_vec()).unwrap()
}

fn bodies(deliveries: &[RabbitMqDelivery]) -> Vec<String> {
    let mut bodies: Vec<_> = deliveries.iter().map(body).collect();
    bodies.sort_by_key(|body| body.parse::<u32>().unwrap());
    bodies
}

fn numbers(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

pub(crate) async fn ack(delivery: RabbitMqDelivery) {
    assert_eq!(delivery.settle(Settlement::Ack).await.unwrap(), Settled::Done);
}

/// Cuts all connections, as often as it takes: the broker lists a new one a little later.
pub(crate) async fn cut_until_lost(vhost: &Vhost, held: &RabbitMqDelivery) {
    let cut = async {
        loop {
            vhost.cut_all();
            let lost = tokio::time::timeout(Duration::from_millis(100), held.lost());
            if lost.await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, cut).await.expect("the lease is lost");
}

/// Closes `rabbitmq`, and answers how many messages are in the queue then.
async fn left_after_close(rabbitmq: RabbitMq, raw: &Raw) -> u32 {
    close(rabbitmq).await;
    left(raw).await
}

pub(crate) async fn close(rabbitmq: RabbitMq) {
    rabbitmq.close(Deadline::after(SystemClock.now(), PATIENCE)).await.unwrap();
}

/// How many messages wait in the queue, once no client holds any.
async fn left(raw: &Raw) -> u32 {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let began = std::time::Instant::now();
    loop {
        let declared = raw.channel.queue_declare(QUEUE.into(), passive, FieldTable::default());
        let queue = declared.await.unwrap();
        if queue.consumer_count() == 0 {
            return queue.message_count();
        }
        assert!(began.elapsed() < PATIENCE, "a consumer is still there");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_message_without_any_properties_is_taken_as_it_is() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    send(&raw, &BasicProperties::default(), ["no JSON: {".to_owned()]).await;
    let mut receiver = rabbitmq.receiver(&source(10)).await.unwrap();
    let delivery = next(&mut receiver).await;
    let envelope = delivery.envelope();
    assert_eq!((body(&delivery).as_str(), &envelope.id), ("no JSON: {", &None));
    assert_eq!((&envelope.name, &envelope.headers), (&None, &Headers::new()));
    assert_eq!((delivery.deliveries(), delivery.failures()), (Some(1), 0));
    ack(delivery).await;
    drop(receiver);
    assert_eq!(left_after_close(rabbitmq, &raw).await, 0);
}

#[tokio::test]
async fn headers_of_every_type_come_through_the_broker() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    let text = |text: &str| AMQPValue::LongString(text.into());
    let sent = table([
        ("array", AMQPValue::FieldArray(vec![text("a"), AMQPValue::Void].into())),
        ("bool", AMQPValue::Boolean(true)),
        ("bytes", AMQPValue::ByteArray(vec![0, 255].into())),
        ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 1990 })),
        ("f32", AMQPValue::Float(0.5)),
        ("f64", AMQPValue::Double(0.25)),
        ("i16", AMQPValue::ShortInt(-16)),
        ("i32", AMQPValue::LongInt(-32)),
        ("i64", AMQPValue::LongLongInt(-64)),
        ("i8", AMQPValue::ShortShortInt(-8)),
        ("latin1", AMQPValue::LongString(vec![0xE4].into())),
        ("table", AMQPValue::FieldTable(table([("a", AMQPValue::LongInt(1))]))),
        ("text", text("text")),
        ("time", AMQPValue::Timestamp(1_700_000_000)),
        ("u16", AMQPValue::ShortUInt(16)),
        ("u32", AMQPValue::LongUInt(32)),
        ("u8", AMQPValue::ShortShortUInt(8)),
        ("void", AMQPValue::Void),
    ]);
    let properties = BasicProperties::default().with_headers(sent);
    send(&raw, &properties, ["{}".to_owned()]).await;
    let mut receiver = rabbitmq.receiver(&source(10)).await.unwrap();
    let delivery = next(&mut receiver).await;
    let bytes = |bytes: &'static [u8]| HeaderValue::Bytes(bytes::Bytes::from_static(bytes));
    let expected: Headers = Headers::from_iter([
        ("array", r#"["a",null]"#.into()),
        ("bool", true.into()),
        ("bytes", bytes(&[0, 255])),
        ("decimal", "19.90".into()),
        ("f32", 0.5.into()),
        ("f64", 0.25.into()),
        ("i16", HeaderValue::Int(-16)),
        ("i32", HeaderValue::Int(-32)),
        ("i64", HeaderValue::Int(-64)),
        ("i8", HeaderValue::Int(-8)),
        ("latin1", bytes(&[0xE4])),
        ("table", r#"{"a":1}"#.into()),
        ("text", "text".into()),
        ("time", HeaderValue::Int(1_700_000_000_000)),
        ("u16", HeaderValue::Int(16)),
        ("u32", HeaderValue::Int(32)),
        ("u8", HeaderValue::Int(8)),
    ]);
    assert_eq!(delivery.envelope().headers, expected);
    ack(delivery).await;
}

#[tokio::test]
async fn acks_in_any_order_take_every_message_from_the_queue_and_no_other() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    send_numbers(&raw, 0..1000).await;
    let mut receiver = rabbitmq.receiver(&source(300)).await.unwrap();
    let mut kept = Vec::new();
    for _ in 0..10 {
        let mut taken = take(&mut receiver, 100).await;
        // Backwards, and one of each hundred stays.
        while let Some(delivery) = taken.pop() {
            if taken.len() == 50 {
                kept.push(delivery);
            } else {
                ack(delivery).await;
            }
        }
    }
    // The last of these come only when the broker has heard of all that is done, and of no more.
    send_numbers(&raw, 1000..1290).await;
    kept.extend(take(&mut receiver, 290).await);
    drop((receiver, kept));
    assert_eq!(left_after_close(rabbitmq, &raw).await, 300);
}

#[tokio::test]
async fn what_is_done_is_told_before_the_connection_is_closed() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    send_numbers(&raw, 0..5).await;
    let mut receiver = rabbitmq.receiver(&source(100)).await.unwrap();
    let mut taken = take(&mut receiver, 5).await;
    let (late, at_work) = (taken.pop().unwrap(), taken.pop().unwrap());
    for delivery in taken {
        ack(delivery).await;
    }
    ack(late).await;
    assert_eq!(left_after_close(rabbitmq, &raw).await, 1);
    assert_eq!(at_work.settle(Settlement::Ack).await.unwrap(), Settled::LeaseLost);
}

#[tokio::test]
async fn a_slow_one_does_not_hold_up_the_acks_of_others() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    send_numbers(&raw, 0..50).await;
    // With room for two, the next comes only when the broker has heard that the other is done.
    let mut receiver = rabbitmq.receiver(&source(2)).await.unwrap();
    let slow = next(&mut receiver).await;
    for _ in 1..50 {
        ack(next(&mut receiver).await).await;
    }
    assert_eq!(body(&slow), "0");
    ack(slow).await;
    drop(receiver);
    assert_eq!(left_after_close(rabbitmq, &raw).await, 0);
}

#[tokio::test]
async fn what_is_returned_or_dropped_comes_back_and_counts_as_delivered() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    send_numbers(&raw, 0..3).await;
    let mut receiver = rabbitmq.receiver(&source(10)).await.unwrap();
    let mut taken = take(&mut receiver, 3).await.into_iter();
    let (returned, dropped, acked) =
        (taken.next().unwrap(), taken.next().unwrap(), taken.next().unwrap());
    // The ack is told up to its tag: what goes back must have been told before.
    assert_eq!(returned.settle(Settlement::Return).await.unwrap(), Settled::Done);
    drop(dropped);
    ack(acked).await;
    let back = take(&mut receiver, 2).await;
    assert_eq!(bodies(&back), numbers(0..2));
    assert!(back.iter().all(|delivery| delivery.deliveries() == Some(2)), "{back:?}");
}

#[tokio::test]
async fn a_classic_queue_does_not_count_deliveries() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "classic").await;
    send_numbers(&raw, 0..1).await;
    let mut classic = source(10);
    classic.spec.arguments.insert("queue-type".to_owned(), "classic".to_owned());
    let mut receiver = rabbitmq.receiver(&classic).await.unwrap();
    let first = next(&mut receiver).await;
    assert_eq!(first.deliveries(), None);
    drop(first);
    assert_eq!(next(&mut receiver).await.deliveries(), None);
}

#[tokio::test]
async fn a_retry_or_a_dead_letter_without_a_copy_is_refused_and_the_message_goes_back() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    send_numbers(&raw, 0..1).await;
    let mut receiver = rabbitmq.receiver(&source(10)).await.unwrap();
    let delivery = next(&mut receiver).await;
    let retry = Settlement::Retry {
        after: Duration::ZERO,
        failures: 1,
        notes: Vec::new(),
        marks: delivery.marks(),
    };
    let error = delivery.settle(retry).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(body(&next(&mut receiver).await), "0");
}

#[tokio::test]
async fn a_stopped_receiver_hands_out_what_it_has_and_takes_nothing_more() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    send_numbers(&raw, 0..20).await;
    let mut receiver = rabbitmq.receiver(&source(8)).await.unwrap();
    ack(next(&mut receiver).await).await;
    receiver.stop().await.unwrap();
    let mut rest = 0;
    while let Some(delivery) = next_or_end(&mut receiver).await {
        rest += 1;
        ack(delivery).await;
    }
    // Eight were on their way; the ack of the first may have let in another one.
    assert!((7..=8).contains(&rest), "{rest}");
    assert!(next_or_end(&mut receiver).await.is_none());
    let left = left_after_close(rabbitmq, &raw).await;
    assert_eq!(left, 19 - rest);
}

#[tokio::test]
async fn more_is_prefetched_while_messages_are_handled_quickly_and_they_stay_in_order() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    send_numbers(&raw, 0..2000).await;
    let eager = Source { prefetch_max: 100, ..source(10) };
    let mut receiver = rabbitmq.receiver(&eager).await.unwrap();
    for number in 0..2000 {
        let delivery = next(&mut receiver).await;
        assert_eq!((body(&delivery), delivery.deliveries()), (number.to_string(), Some(1)));
        ack(delivery).await;
    }
    let began = std::time::Instant::now();
    loop {
        let consumers = vhost.get("consumers/{vhost}");
        let prefetch: Vec<_> =
            consumers.as_array().unwrap().iter().map(|one| &one["prefetch_count"]).collect();
        if prefetch == [&serde_json::json!(100)] {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{consumers}");
        tokio::task::yield_now().await;
    }
    drop(receiver);
    assert_eq!(left_after_close(rabbitmq, &raw).await, 0);
}

#[tokio::test]
async fn a_dropped_receiver_gives_back_what_it_did_not_hand_out() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    send_numbers(&raw, 0..20).await;
    let mut receiver = rabbitmq.receiver(&source(10)).await.unwrap();
    let held = next(&mut receiver).await;
    drop(receiver);
    // The channel of the first stays open with the delivery.
    let mut other = rabbitmq.receiver(&source(100)).await.unwrap();
    let taken = take(&mut other, 19).await;
    assert_eq!(bodies(&taken), numbers(1..20));
    ack(held).await;
}

#[tokio::test]
async fn what_was_unsettled_when_the_connection_broke_comes_back_and_late_acks_are_lost() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    send_numbers(&raw, 0..10).await;
    let mut receiver = rabbitmq.receiver(&source(10)).await.unwrap();
    let mut before = take(&mut receiver, 5).await;
    ack(before.remove(0)).await;
    cut_until_lost(&vhost, &before[0]).await;
    // The new channel counts its tags from 1 again: a late ack must not reach another message.
    let after = take(&mut receiver, 9).await;
    for late in before {
        assert_eq!(late.settle(Settlement::Ack).await.unwrap(), Settled::LeaseLost);
    }
    assert_eq!(bodies(&after), numbers(1..10));
    assert!(after.iter().all(|delivery| delivery.deliveries() == Some(2)), "{after:?}");
    drop((receiver, after));
    assert_eq!(left_after_close(rabbitmq, &vhost.raw().await).await, 9);
}

#[tokio::test]
async fn a_receiver_goes_on_when_its_queue_was_deleted_and_is_there_again() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    send_numbers(&raw, 0..1).await;
    let mut receiver = rabbitmq.receiver(&source(10)).await.unwrap();
    let gone = next(&mut receiver).await;
    raw.channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await.unwrap();
    let received = tokio::spawn(async move { next(&mut receiver).await });
    tokio::time::timeout(PATIENCE, gone.lost()).await.expect("the lease is lost");
    declare(&raw, "quorum").await;
    send_numbers(&raw, 7..8).await;
    assert_eq!(body(&received.await.unwrap()), "7");
    assert_eq!(gone.settle(Settlement::Ack).await.unwrap(), Settled::LeaseLost);
}

#[tokio::test]
async fn a_receiver_declares_its_queue_again_when_it_was_deleted() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    let queues = vec![source(10).spec];
    rabbitmq.declare(&Topology { queues, ..Topology::default() }).await.unwrap();
    let mut receiver = rabbitmq.receiver(&source(10)).await.unwrap();
    raw.channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await.unwrap();
    let received = tokio::spawn(async move { next(&mut receiver).await });
    send_when_there(&raw, "7").await;
    assert_eq!(body(&received.await.unwrap()), "7");
}

#[tokio::test]
async fn who_consumes_from_a_queue_that_is_not_there_is_told_its_name() {
    let Some(vhost) = Vhost::fresh() else { return };
    let rabbitmq = vhost.connect().await;
    let error = rabbitmq.receiver(&source(10)).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("queue work"), "{error}");
}

#[tokio::test]
async fn a_receiver_ends_when_its_transport_is_closed() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    let mut receiver = rabbitmq.receiver(&source(10)).await.unwrap();
    let closing = rabbitmq.close(Deadline::after(SystemClock.now(), PATIENCE));
    let (closed, ended) = tokio::join!(closing, next_or_end(&mut receiver));
    closed.unwrap();
    assert!(ended.is_none());
}

#[tokio::test]
async fn what_is_done_while_more_is_to_be_prefetched_is_told_although_nobody_asks_for_more() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    send_numbers(&raw, 0..50).await;
    let eager = Source { prefetch_max: 100, ..source(10) };
    let mut receiver = rabbitmq.receiver(&eager).await.unwrap();
    let mut taken = take(&mut receiver, 10).await;
    let slow = taken.remove(0);
    for delivery in taken {
        ack(delivery).await;
    }
    // For each ack that it hears, the broker sends another message.
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let began = std::time::Instant::now();
    loop {
        let asked = raw.channel.queue_declare(QUEUE.into(), passive, FieldTable::default());
        let waiting = asked.await.unwrap().message_count();
        if waiting == 31 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{waiting} are still waiting");
        tokio::task::yield_now().await;
    }
    drop(slow);
}
