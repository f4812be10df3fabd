//! What was declared is there again with the next connection.

use crate::censor::Censor;
use crate::kit::{Connect, Vhost};
use crate::messages::{self, accepted, after, answers, to_exchange, to_queue};
use crate::receiving::{ack, next, send, source};
use crate::topologies::{QUEUE, queue, refused, shown, spec, subscribed, with};
use lapin::BasicProperties;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tramline_core::ErrorKind;
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::topology::{QueueSpec, Rule, Topology};
use tramline_core::transport::{Sent, Source, Transport};
use tramline_rabbitmq::{Exchange, RabbitMq};

/// The queues to which the broker gave their names.
fn given(vhost: &Vhost) -> Vec<String> {
    let listed = vhost.get("queues/{vhost}");
    let names = listed.as_array().unwrap().iter().map(|queue| queue["name"].as_str().unwrap());
    names.filter(|name| name.starts_with("amq.gen")).map(str::to_owned).collect()
}

async fn cut(vhost: &Vhost) {
    // The broker counts connections a while after they were made.
    shown("connections to cut", || (vhost.cut_all() >= 2).then_some(())).await;
}

#[tokio::test]
async fn a_temporary_queue_comes_back_under_another_name() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost.connect().await;
    let temporary = QueueSpec { temporary: true, ..spec() };
    let topology = Topology { queues: vec![temporary], ..subscribed([Rule::subject("orders.*")]) };
    broker.declare(&topology).await.unwrap();
    broker.declare(&topology).await.unwrap();
    let before = given(&vhost);
    let [first] = before.as_slice() else { panic!("expected one queue: {before:?}") };
    let queue = vhost.queue(first);
    let flags = ["exclusive", "auto_delete", "durable"].map(|flag| queue[flag].as_bool().unwrap());
    assert_eq!(flags, [true, true, false]);
    assert_eq!(queue["arguments"]["x-dead-letter-routing-key"], "work-dlq");
    assert_eq!(vhost.queue(QUEUE), Value::Null);
    assert_eq!(vhost.queue("work-dlq")["durable"], true);
    let bound = |name: &str| {
        [format!("orders → {name} (orders.*)"), format!("tramline.due → {name} ({name})")]
            .iter()
            .all(|binding| vhost.bindings().contains(binding))
    };
    assert!(bound(first), "{:?}", vhost.bindings());

    cut(&vhost).await;
    let second = shown("another queue, bound", || {
        given(&vhost).into_iter().find(|name| name != first && bound(name))
    });
    assert_ne!(second.await, *first);
    assert!(given(&vhost).len() == 1, "the first one is gone with its connection");
}

#[tokio::test]
async fn what_was_deleted_meanwhile_is_declared_again_as_whoever_declared_it_last_has_asked() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost.connect().await;
    broker.declare(&subscribed([Rule::subject("old.#")])).await.unwrap();
    let newer = vhost.connect().await;
    newer.declare(&subscribed([Rule::subject("new.#")])).await.unwrap();
    // Only the older program is left when the queue is lost.
    drop(newer);
    vhost.ask("DELETE", &format!("/api/queues/{}/{QUEUE}", vhost.name), None);
    let bound = || -> Vec<_> {
        let bindings = vhost.bindings().into_iter();
        bindings.filter(|known| known.starts_with("orders → work")).collect()
    };
    assert!(bound().is_empty());
    cut(&vhost).await;
    shown("the binding of the newer program", || {
        (bound() == ["orders → work (new.#)"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_queue_that_differs_meanwhile_keeps_nothing_else_from_coming_back() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost.connect().await;
    let mail = QueueSpec { name: QueueName::foreign("mail"), ..spec() };
    let topology = Topology { queues: vec![spec(), mail], ..Topology::default() };
    broker.declare(&topology).await.unwrap();
    for name in [QUEUE, "mail"] {
        vhost.ask("DELETE", &format!("/api/queues/{}/{name}", vhost.name), None);
    }
    let other = format!("/api/queues/{}/{QUEUE}", vhost.name);
    vhost.ask("PUT", &other, Some(r#"{"durable":true,"arguments":{}}"#));
    cut(&vhost).await;
    shown("the other queue", || (!vhost.queue("mail").is_null()).then_some(())).await;
    assert_eq!(vhost.queue(QUEUE)["arguments"], serde_json::json!({}));
    // The connection is there for all who need it.
    broker.declare(&queue(QueueSpec { name: QueueName::foreign("more"), ..spec() })).await.unwrap();
}

/// The broker ends a channel when it refuses something. Others are on the same connection.
#[tokio::test]
async fn what_the_broker_refuses_ends_no_connection() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost.connect().await;
    broker.declare(&queue(spec())).await.unwrap();
    let mut receiver = broker.receiver(&source(1)).await.unwrap();
    send(&vhost.raw().await, &BasicProperties::default(), ["{}".to_owned()]).await;
    let held = next(&mut receiver).await;
    let otherwise = queue(QueueSpec { length_max: Some(5), ..spec() });
    for _ in 0..3 {
        assert_eq!(refused(&broker, &otherwise).await.kind(), ErrorKind::Conflict);
    }
    ack(held).await;
}

/// Who sends is on another connection, and the queue is this one's own.
#[tokio::test]
async fn what_was_delayed_for_a_queue_of_one_connection_arrives() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost.connect().await;
    let temporary = QueueSpec { temporary: true, ..spec() };
    let exclusive = with([("queue-type", "classic"), ("exclusive", "true")]);
    let exclusive = QueueSpec { name: QueueName::foreign("mine"), ..exclusive };
    let topology = Topology { queues: vec![temporary, exclusive], ..Topology::default() };
    broker.declare(&topology).await.unwrap();
    for queue in [QUEUE, "mine"] {
        let source = Source::of(QueueRef::Main(QueueName::foreign(queue)), 1);
        let mut receiver = broker.receiver(&source).await.unwrap();
        accepted(&broker, after(Duration::from_millis(100), to_queue(queue, "a"))).await;
        ack(next(&mut receiver).await).await;
    }
}

#[tokio::test]
async fn an_exchange_of_who_only_publishes_comes_back() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost.connect().await.exchange(Exchange::fanout("audit").durable(false));
    broker.declare(&Topology::default()).await.unwrap();
    vhost.ask("DELETE", &format!("/api/exchanges/{}/audit", vhost.name), None);
    assert!(vhost.exchange("audit").is_null());
    cut(&vhost).await;
    shown("the exchange", || (!vhost.exchange("audit").is_null()).then_some(())).await;
}

/// The connection that publishes is back before the one that declares.
#[tokio::test]
async fn what_is_sent_to_a_queue_that_has_yet_to_be_declared_again_waits_for_it() {
    const SOON: Duration = Duration::from_millis(500);
    let Some(vhost) = Vhost::fresh() else { return };
    let censor = Censor::before(&vhost, |frame| vec![frame]).await;
    let broker = RabbitMq::connect(&censor.url).await.unwrap();
    let broker = broker.exchange(Exchange::fanout("audit").durable(false));
    broker.declare(&queue(with([("queue-type", "classic"), ("durable", "false")]))).await.unwrap();
    censor.hold_consumers(true);
    broker.cut().await;
    // As a broker does that is started again.
    for gone in
        [format!("queues/{}/{QUEUE}", vhost.name), format!("exchanges/{}/audit", vhost.name)]
    {
        vhost.ask("DELETE", &format!("/api/{gone}"), None);
    }
    let sender = broker.sender().await.unwrap();
    let batch = [to_queue(QUEUE, "a"), to_exchange("audit", "key", "b")];
    let mut sending = tokio::spawn(async move { answers(&sender, &batch).await });
    let early = tokio::time::timeout(SOON, &mut sending).await;
    assert!(early.is_err(), "it waits: {early:?}");
    censor.hold_consumers(false);
    let sent = sending.await.unwrap();
    assert!(sent.iter().all(Sent::is_accepted), "{sent:?}");
    // It was deleted for good.
    vhost.ask("DELETE", &format!("/api/queues/{}/{QUEUE}", vhost.name), None);
    messages::refused(&broker, to_queue(QUEUE, "c"), ErrorKind::NotFound).await;
}

/// As a queue whose leader is gone for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_does_not_answer_keeps_nothing_else_from_coming_back() {
    const DECLARED: (u16, u16) = (50, 11);
    const SILENT: &[u8] = b"\x06silent";
    let Some(vhost) = Vhost::fresh() else { return };
    let is_silent = Arc::new(AtomicBool::new(false));
    let told = is_silent.clone();
    let censor = Censor::before(&vhost, move |frame| {
        let declared = frame.arguments(DECLARED.0, DECLARED.1);
        let is_kept_back = declared.is_some_and(|declared| declared.starts_with(SILENT));
        if is_kept_back && told.load(Ordering::SeqCst) { Vec::new() } else { vec![frame] }
    })
    .await;
    let broker = RabbitMq::connect(&censor.url).await.unwrap();
    let silent = QueueSpec { name: QueueName::foreign("silent"), ..spec() };
    let topology = Topology { queues: vec![silent, spec()], ..Topology::default() };
    broker.declare(&topology).await.unwrap();
    let mut receiver = broker.receiver(&source(1)).await.unwrap();
    is_silent.store(true, Ordering::SeqCst);
    broker.cut().await;
    send(&vhost.raw().await, &BasicProperties::default(), ["{}".to_owned()]).await;
    ack(next(&mut receiver).await).await;
}
