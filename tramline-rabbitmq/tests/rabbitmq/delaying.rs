//! Messages that wait arrive when they are due, whatever happens around them.

use crate::kit::{Connect, PATIENCE, Raw, Vhost};
use crate::messages::{
    accepted, after, answers, declare_quorum, get, id_of, ids, main_queue, message, refused, take,
    take_ids, to, to_exchange, to_queue, to_topic,
};
use crate::proxy::Proxy;
use crate::topologies::shown;
use lapin::ExchangeKind;
use lapin::message::BasicGetMessage;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use std::collections::HashSet;
use std::time::Duration;
use tramline_core::ErrorKind;
use tramline_core::clock::{Clock, SystemClock};
use tramline_core::dead::History;
use tramline_core::envelope::Envelope;
use tramline_core::health::Health;
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::settlement::{Marks, Settlement};
use tramline_core::transport::{CopyOf, Delivery, Outgoing, Receiver, Sent, Source, Transport};
use tramline_rabbitmq::{RabbitMq, RabbitMqReceiver};

const QUEUE: &str = "work";
const UNDELIVERABLE: &str = "tramline.undeliverable";
/// The shortest stage.
const SHORT: Duration = Duration::from_millis(50);
/// More than the broker takes out of a stage at once.
const MANY: u32 = 100;

fn retry(failures: u32, envelope: Envelope, pause: Duration) -> Outgoing {
    let copy = CopyOf::Retry { failures, history: History::new(), marks: Marks::default() };
    Outgoing { copy: Some(copy), ..after(pause, to(main_queue(QUEUE), envelope)) }
}

#[tokio::test]
async fn a_scheduled_message_goes_through_its_stages_and_is_not_early() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare_quorum(&raw, QUEUE).await;
    // While the stages are declared for the first, its pause gets shorter.
    for id in ["first", "second"] {
        let delayed = after(Duration::from_millis(1950), to_queue(QUEUE, id));
        let due = delayed.due.unwrap();
        assert_eq!(accepted(&rabbitmq, delayed).await, None);
        let got = take(&raw, QUEUE).await;
        assert!(SystemClock.now() >= due);
        assert_eq!((id_of(&got), got.delivery.routing_key.as_str()), (id.to_owned(), QUEUE));
        if id == "second" {
            let stages = ["tramline.delay.950ms", "tramline.delay.1s"];
            assert_eq!(stages_of(&got), stages, "the last comes first");
        }
    }
}

/// What is left of a delay counts when the message leaves, not when it began to wait for that.
#[tokio::test]
async fn what_was_due_before_the_broker_took_it_goes_through_no_stage() {
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    declare_quorum(&raw, QUEUE).await;
    let proxy = Proxy::before(&vhost).await;
    let rabbitmq = RabbitMq::connect(&proxy.url).await.unwrap();
    accepted(&rabbitmq, to_queue(QUEUE, "undelayed")).await;
    proxy.block("low on memory");
    let is_blocked = || matches!(rabbitmq.health(), Health::Blocked { .. }).then_some(());
    shown("the broker blocks", is_blocked).await;
    let delayed = after(Duration::from_millis(500), to_queue(QUEUE, "delayed"));
    let (due, sender) = (delayed.due.unwrap(), rabbitmq.sender().await.unwrap());
    let sending = tokio::spawn(async move { answers(&sender, &[delayed]).await });
    SystemClock.sleep_until(due).await;
    proxy.unblock();
    assert!(sending.await.unwrap()[0].is_accepted());
    assert_eq!(id_of(&take(&raw, QUEUE).await), "undelayed");
    let got = take(&raw, QUEUE).await;
    assert_eq!((id_of(&got), stages_of(&got)), ("delayed".to_owned(), vec![]));
}

#[tokio::test]
async fn messages_of_many_pauses_arrive_in_the_order_of_their_times() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare_quorum(&raw, QUEUE).await;
    // Also over the change from a digit to the next.
    let start = SystemClock.now().after(Duration::from_millis(2500));
    let due: Vec<_> = (0..8).map(|place| start.after(place * Duration::from_millis(250))).collect();
    let batch = due.iter().zip(ids(0..8)).rev();
    let batch = batch.map(|(due, id)| Outgoing { due: Some(*due), ..to_queue(QUEUE, &id) });
    let batch: Vec<_> = batch.collect();
    assert!(answers(&rabbitmq.sender().await.unwrap(), &batch).await.iter().all(Sent::is_accepted));
    for (due, id) in due.iter().zip(ids(0..8)) {
        assert_eq!(id_of(&take(&raw, QUEUE).await), id);
        assert!(SystemClock.now() >= *due, "{id} came before its time");
    }
}

/// The broker drops a message that comes to a queue again without a rejection.
#[tokio::test]
async fn a_message_is_retried_thirty_times_through_one_stage() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare_quorum(&raw, QUEUE).await;
    accepted(&rabbitmq, to_queue(QUEUE, "a")).await;
    let mut receiver = receiver(&rabbitmq).await;
    for failures in 1..=30 {
        let delivery = next(&mut receiver).await;
        assert_eq!(delivery.failures(), failures - 1);
        let again = retry(failures, Envelope::clone(delivery.envelope()), SHORT);
        accepted(&rabbitmq, again).await;
        delivery.settle(Settlement::Ack).await.unwrap();
    }
    let delivery = next(&mut receiver).await;
    assert_eq!((delivery.failures(), delivery.envelope().id.clone()), (30, message("a").id));
    assert!(delivery.envelope().headers.is_empty(), "{:?}", delivery.envelope().headers);
    delivery.settle(Settlement::Ack).await.unwrap();
    assert_eq!(stages(&vhost), ["tramline.delay.50ms"]);
}

/// The broker returns what it has no stage for, and only its delay tells it from the other.
#[tokio::test]
async fn of_two_that_differ_in_nothing_but_their_pause_the_one_without_a_stage_is_sent_again() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare_quorum(&raw, QUEUE).await;
    let batch = || [(1, Duration::from_secs(1)), (2, Duration::from_secs(2))];
    let batch = || batch().map(|(failures, pause)| retry(failures, message("a"), pause));
    let sender = rabbitmq.sender().await.unwrap();
    for sent in answers(&sender, &batch()).await {
        assert!(sent.is_accepted());
    }
    let options = QueueDeleteOptions::default();
    raw.channel.queue_delete("tramline.delay.2s".into(), options).await.unwrap();
    assert!(answers(&sender, &batch()).await.iter().all(Sent::is_accepted));
    let mut came = Vec::new();
    for _ in 0..3 {
        let got = take(&raw, QUEUE).await;
        let headers = got.delivery.properties.headers().as_ref().unwrap();
        came.push(headers.inner()["tramline_failures"].clone());
    }
    let failures = [1, 1, 2].map(AMQPValue::LongLongInt);
    assert_eq!(came, failures, "the first of two seconds was deleted with its stage");
}

/// As another client would see it; and what it forwards may be delayed again.
#[tokio::test]
async fn a_copy_carries_nothing_of_the_way_that_the_message_came() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare_quorum(&raw, QUEUE).await;
    accepted(&rabbitmq, retry(1, message("a"), SHORT)).await;
    let first = take(&raw, QUEUE).await;
    let table = first.delivery.properties.headers().as_ref().unwrap().inner();
    let mut envelope = message("a");
    for name in table.keys().filter(|name| !name.as_str().starts_with("tramline_f")) {
        envelope.headers.insert(name.as_str(), "stale");
    }
    let stale = ["x-death", "x-first-death-queue", "tramline_delay", "tramline_delay_50ms"];
    assert!(stale.iter().all(|name| envelope.headers.get(name).is_some()), "{envelope:?}");
    let copy = Outgoing { copy: Some(CopyOf::Redrive), ..to(main_queue(QUEUE), envelope) };
    accepted(&rabbitmq, copy).await;
    let second = take(&raw, QUEUE).await;
    let headers = second.delivery.properties.headers();
    let names = headers.iter().flatten().map(|(name, _)| name.to_string());
    // The queue counts anew, and the bus leaves the field's own header to whoever set it.
    assert_eq!(names.collect::<Vec<_>>(), ["x-delivery-count", "x-retry-count"]);
}

#[tokio::test]
async fn five_hundred_messages_through_a_stage_all_arrive() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare_quorum(&raw, QUEUE).await;
    let pause = Duration::from_millis(300);
    let batch: Vec<_> = ids(0..500).iter().map(|id| retry(1, message(id), pause)).collect();
    assert!(answers(&rabbitmq.sender().await.unwrap(), &batch).await.iter().all(Sent::is_accepted));
    let arrived: HashSet<_> = take_ids(&raw, QUEUE, 500).await.into_iter().collect();
    assert_eq!(arrived, ids(0..500).into_iter().collect());
    assert!(get(&raw, QUEUE).await.is_none(), "one came twice");
}

#[tokio::test]
async fn messages_for_a_queue_that_was_deleted_hold_up_nobody_and_are_kept() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare_quorum(&raw, QUEUE).await;
    declare_quorum(&raw, "gone").await;
    // In one stage, one behind the other.
    let pause = Duration::from_secs(1);
    let due = Some(SystemClock.now().after(pause));
    let delayed = |queue: &str, id: &str| Outgoing { due, ..to_queue(queue, id) };
    let mut batch: Vec<_> = ids(0..MANY).iter().map(|id| delayed("gone", id)).collect();
    batch.push(delayed(QUEUE, "behind"));
    assert!(answers(&rabbitmq.sender().await.unwrap(), &batch).await.iter().all(Sent::is_accepted));
    delete(&raw, "gone").await;
    assert_eq!(take_ids(&raw, QUEUE, 1).await, ["behind"]);
    let kept: HashSet<_> = take_ids(&raw, UNDELIVERABLE, MANY as usize).await.into_iter().collect();
    assert_eq!(kept, ids(0..MANY).into_iter().collect());
}

#[tokio::test]
async fn events_that_nobody_subscribed_to_when_they_are_due_hold_up_nobody() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare_quorum(&raw, QUEUE).await;
    let due = Some(SystemClock.now().after(Duration::from_secs(1)));
    let event = |id: &str| Outgoing { due, ..to_topic("orders", "orders.placed", id) };
    let mut batch: Vec<_> = ids(0..MANY).iter().map(|id| event(id)).collect();
    batch.push(Outgoing { due, ..to_queue(QUEUE, "behind") });
    assert!(answers(&rabbitmq.sender().await.unwrap(), &batch).await.iter().all(Sent::is_accepted));
    assert_eq!(take_ids(&raw, QUEUE, 1).await, ["behind"]);
    assert!(get(&raw, UNDELIVERABLE).await.is_none());
    assert!(get(&raw, "tramline.void").await.is_none(), "it keeps nothing");
}

#[tokio::test]
async fn a_delayed_event_comes_through_its_topic() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare_quorum(&raw, QUEUE).await;
    let event = || after(SHORT, to_topic("orders", "orders.placed", "a"));
    accepted(&rabbitmq, event()).await;
    bind(&raw, "orders", "orders.*").await;
    accepted(&rabbitmq, event()).await;
    let delivery = next(&mut receiver(&rabbitmq).await).await;
    let via = delivery.envelope().via.clone().expect("it came through a topic");
    assert_eq!((via.topic.as_str(), &*via.subject), ("orders", "orders.placed"));
    delivery.settle(Settlement::Ack).await.unwrap();
}

#[tokio::test]
async fn a_delayed_message_comes_through_an_exchange_of_others() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare_quorum(&raw, QUEUE).await;
    let delayed = || after(SHORT, to_exchange("legacy", "key", "a"));
    let error = refused(&rabbitmq, delayed(), ErrorKind::NotFound).await;
    assert!(error.to_string().contains("legacy"), "{error}");
    let (kind, options) = (ExchangeKind::Direct, ExchangeDeclareOptions::default());
    let declared =
        raw.channel.exchange_declare("legacy".into(), kind, options, FieldTable::default());
    declared.await.unwrap();
    bind(&raw, "legacy", "key").await;
    accepted(&rabbitmq, delayed()).await;
    assert_eq!(take_ids(&raw, QUEUE, 1).await, ["a"]);
}

#[tokio::test]
async fn a_stage_that_was_deleted_is_declared_again_for_the_next_messages() {
    const STAGE: &str = "tramline.delay.1s";
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare_quorum(&raw, QUEUE).await;
    let second = Duration::from_secs(1);
    accepted(&rabbitmq, retry(1, message("a"), second)).await;
    assert_eq!(take_ids(&raw, QUEUE, 1).await, ["a"]);
    assert_eq!(stages(&vhost), [STAGE]);
    delete(&raw, STAGE).await;
    // While it is noticed that the stage is gone, the pause gets shorter: this one may take another.
    accepted(&rabbitmq, retry(2, message("b"), second)).await;
    accepted(&rabbitmq, retry(2, message("c"), second)).await;
    let arrived: HashSet<_> = take_ids(&raw, QUEUE, 2).await.into_iter().collect();
    assert_eq!(arrived, ["b", "c"].map(str::to_owned).into());
    assert!(stages(&vhost).iter().any(|stage| stage == STAGE), "{:?}", stages(&vhost));
}

#[tokio::test]
async fn what_waits_before_a_later_stage_that_was_deleted_is_kept() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare_quorum(&raw, QUEUE).await;
    accepted(&rabbitmq, after(Duration::from_millis(1900), to_queue(QUEUE, "a"))).await;
    let fraction = stages(&vhost).into_iter().find(|stage| stage.ends_with("ms")).unwrap();
    delete(&raw, &fraction).await;
    assert_eq!(take_ids(&raw, UNDELIVERABLE, 1).await, ["a"]);
}

/// Nobody has declared anything yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_declare_the_same_stages_at_once() {
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    declare_quorum(&raw, QUEUE).await;
    let mut tasks = Vec::new();
    for process in 0..4 {
        let rabbitmq = vhost.connect().await;
        for task in 0..4 {
            let (sender, id) = (rabbitmq.sender().await.unwrap(), format!("p{process}-{task}"));
            tasks.push(tokio::spawn(async move {
                let delayed = after(Duration::from_millis(1250), to_queue(QUEUE, &id));
                answers(&sender, &[delayed]).await.remove(0)
            }));
        }
    }
    for task in tasks {
        let sent = task.await.unwrap();
        assert!(sent.is_accepted(), "{sent:?}");
    }
    let arrived: HashSet<_> = take_ids(&raw, QUEUE, 16).await.into_iter().collect();
    assert_eq!(arrived.len(), 16);
}

#[tokio::test]
async fn a_delay_for_a_missing_queue_is_refused_at_once() {
    let Some(vhost) = Vhost::fresh() else { return };
    let rabbitmq = vhost.connect().await;
    let delayed = after(SHORT, to_queue("nowhere", "a"));
    let error = refused(&rabbitmq, delayed, ErrorKind::NotFound).await;
    assert!(error.to_string().contains("nowhere"), "{error}");
}

async fn receiver(rabbitmq: &RabbitMq) -> RabbitMqReceiver {
    let queue = QueueRef::Main(QueueName::foreign(QUEUE));
    rabbitmq.receiver(&Source::of(queue, 1)).await.unwrap()
}

async fn next(receiver: &mut RabbitMqReceiver) -> impl Delivery + use<> {
    let next = tokio::time::timeout(PATIENCE, receiver.next()).await;
    next.expect("a message in time").unwrap().expect("the receiver ended")
}

async fn delete(raw: &Raw, queue: &str) {
    raw.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
}

async fn bind(raw: &Raw, exchange: &str, key: &str) {
    let (options, table) = (QueueBindOptions::default(), FieldTable::default());
    let bound = raw.channel.queue_bind(QUEUE.into(), exchange.into(), key.into(), options, table);
    bound.await.unwrap();
}

/// The stages that there are.
fn stages(vhost: &Vhost) -> Vec<String> {
    let listed = vhost.get("queues/{vhost}");
    let names = listed.as_array().unwrap().iter().map(|queue| queue["name"].as_str().unwrap());
    names.filter(|name| name.starts_with("tramline.delay.")).map(str::to_owned).collect()
}

/// The stages that a message came through.
fn stages_of(got: &BasicGetMessage) -> Vec<String> {
    use lapin::types::AMQPValue;
    let table = got.delivery.properties.headers().as_ref().unwrap().inner();
    let Some(AMQPValue::FieldArray(deaths)) = table.get("x-death") else { return Vec::new() };
    let queue = |death: &AMQPValue| match death {
        AMQPValue::FieldTable(death) => match death.inner().get("queue") {
            Some(AMQPValue::LongString(queue)) => queue.to_string(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    deaths.as_slice().iter().map(queue).collect()
}
