//! What is sent is in its queue when the sender says so, and the answer is the message's own.

use crate::kit::{Connect, PATIENCE, Vhost};
use crate::messages::{
    accepted, answers, declare, declare_quorum, get, id_of, ids, main_queue, message, refused,
    take, take_ids, to, to_exchange, to_queue, to_topic, within,
};
use crate::proxy::Proxy;
use bytes::Bytes;
use lapin::ExchangeKind;
use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use std::collections::HashSet;
use std::time::Duration;
use tokio::runtime::Runtime;
use tramline_core::ErrorKind;
use tramline_core::clock::Timestamp;
use tramline_core::envelope::Envelope;
use tramline_core::headers::Headers;
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::transport::{CopyOf, Destination, Outgoing, Sender, Sent, Transport};
use tramline_rabbitmq::RabbitMq;

const QUEUE: &str = "work";
/// For what is not to be answered at all.
const SOON: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_tasks_send_at_once_is_all_in_the_queue() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare_quorum(&raw, QUEUE).await;
    let sender = rabbitmq.sender().await.unwrap();
    let tasks = (0..16_u32).map(|task| {
        let sender = sender.clone();
        tokio::spawn(async move {
            let batch: Vec<_> =
                (0..100).map(|n| to_queue(QUEUE, &format!("t{task}-{n}"))).collect();
            answers(&sender, &batch).await.iter().all(Sent::is_accepted)
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert!(task.await.unwrap());
    }
    let distinct: HashSet<_> = take_ids(&raw, QUEUE, 1600).await.into_iter().collect();
    assert_eq!(distinct.len(), 1600);
    assert!(get(&raw, QUEUE).await.is_none());
}

#[tokio::test]
async fn a_batch_is_in_the_queue_in_its_order() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare_quorum(&raw, QUEUE).await;
    let batch: Vec<_> = ids(0..1000).iter().map(|id| to_queue(QUEUE, id)).collect();
    assert!(answers(&rabbitmq.sender().await.unwrap(), &batch).await.iter().all(Sent::is_accepted));
    assert_eq!(take_ids(&raw, QUEUE, 1000).await, ids(0..1000));
}

/// Confirms come for many at once, and the client pairs them with returns as they come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_under_way_only_those_without_a_queue_are_refused() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare_quorum(&raw, QUEUE).await;
    // Some numbers in no order: where the queue is missing.
    let is_missing = |number: u32| number.wrapping_mul(2_654_435_761) >> 28 < 5;
    let sender = rabbitmq.sender().await.unwrap();
    let tasks = (0..8_u32).map(|task| {
        let sender = sender.clone();
        tokio::spawn(async move {
            let numbers = || (0..250).map(|number| task * 250 + number);
            let queue = |number| if is_missing(number) { "nowhere" } else { QUEUE };
            let batch: Vec<_> =
                numbers().map(|number| to_queue(queue(number), &format!("m{number}"))).collect();
            for (number, sent) in numbers().zip(answers(&sender, &batch).await) {
                match sent {
                    Sent::Accepted { routed: Some(true) } => {
                        assert!(!is_missing(number), "{number}")
                    }
                    Sent::Refused(error) => {
                        assert!(is_missing(number), "{number}");
                        assert_eq!(error.kind(), ErrorKind::NotFound);
                    }
                    other => panic!("{number}: {other:?}"),
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let there = (0..2000).filter(|number| !is_missing(*number)).count();
    let distinct: HashSet<_> = take_ids(&raw, QUEUE, there).await.into_iter().collect();
    assert_eq!(distinct.len(), there);
}

#[tokio::test]
async fn no_more_messages_are_under_way_than_the_window_has_places() {
    const WINDOW: u32 = 10;
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    declare_quorum(&raw, QUEUE).await;
    let proxy = Proxy::before(&vhost).await;
    let rabbitmq = RabbitMq::connect(&format!("{}&unconfirmed_max={WINDOW}", proxy.url)).await;
    let rabbitmq = rabbitmq.unwrap();
    accepted(&rabbitmq, to_queue(QUEUE, "first")).await;
    take(&raw, QUEUE).await;

    proxy.hold();
    let sender = rabbitmq.sender().await.unwrap();
    let sending = tokio::spawn(async move {
        let batch: Vec<_> = ids(0..50).iter().map(|id| to_queue(QUEUE, id)).collect();
        answers(&sender, &batch).await
    });
    assert_eq!(take_ids(&raw, QUEUE, WINDOW as usize).await, ids(0..WINDOW));
    // The broker answers to this one later than to whatever else had been sent.
    let declared = raw.channel.queue_declare(
        QUEUE.into(),
        QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() },
        FieldTable::default(),
    );
    assert_eq!(declared.await.unwrap().message_count(), 0);
    assert!(get(&raw, QUEUE).await.is_none());

    proxy.pass();
    assert!(sending.await.unwrap().iter().all(Sent::is_accepted));
    assert_eq!(take_ids(&raw, QUEUE, 40).await, ids(WINDOW..50));
}

#[tokio::test]
async fn whoever_no_longer_waits_gives_the_places_back_when_the_broker_has_answered() {
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    declare_quorum(&raw, QUEUE).await;
    let proxy = Proxy::before(&vhost).await;
    let rabbitmq = RabbitMq::connect(&format!("{}&unconfirmed_max=2", proxy.url)).await.unwrap();
    accepted(&rabbitmq, to_queue(QUEUE, "first")).await;
    proxy.hold();
    let batch = ["a", "b"].map(|id| to_queue(QUEUE, id));
    let sender = rabbitmq.sender().await.unwrap();
    let abandoned = tokio::time::timeout(SOON, answers(&sender, &batch)).await;
    assert!(abandoned.is_err(), "the broker's answer was held back");
    proxy.pass();
    accepted(&rabbitmq, to_queue(QUEUE, "later")).await;
    assert_eq!(take_ids(&raw, QUEUE, 4).await, ["first", "a", "b", "later"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_break_under_load_lose_nothing_that_was_accepted() {
    const TASKS: u32 = 8;
    const CUTS: u32 = 5;
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    declare_quorum(&raw, QUEUE).await;
    let proxy = Proxy::before(&vhost).await;
    let rabbitmq = RabbitMq::connect(&proxy.url).await.unwrap();
    let (done, is_done) = tokio::sync::watch::channel(false);
    let sender = rabbitmq.sender().await.unwrap();
    let tasks = (0..TASKS).map(|task| {
        let (sender, is_done) = (sender.clone(), is_done.clone());
        tokio::spawn(async move {
            let mut count = 0;
            while !*is_done.borrow() {
                let batch: Vec<_> = (count..count + 50)
                    .map(|number| to_queue(QUEUE, &format!("t{task}-{number}")))
                    .collect();
                for sent in answers(&sender, &batch).await {
                    assert!(sent.is_accepted(), "the connection comes back in time: {sent:?}");
                }
                count += 50;
            }
            count
        })
    });
    let tasks: Vec<_> = tasks.collect();
    for cut in 0..CUTS {
        // Something has arrived since the last cut, so that it hits what is under way.
        accepted(&rabbitmq, to_queue(QUEUE, &format!("cut-{cut}"))).await;
        proxy.cut();
    }
    done.send_replace(true);
    let mut expected: HashSet<_> = (0..CUTS).map(|cut| format!("cut-{cut}")).collect();
    for (task, sent) in tasks.into_iter().enumerate() {
        let count = tokio::time::timeout(PATIENCE, sent).await.unwrap().unwrap();
        expected.extend((0..count).map(|number| format!("t{task}-{number}")));
    }
    while let Some(got) = get(&raw, QUEUE).await {
        expected.remove(&id_of(&got));
    }
    assert!(expected.is_empty(), "{} accepted messages are lost", expected.len());
}

#[test]
fn who_sends_when_the_runtime_of_the_connection_is_gone_is_answered_by_the_deadline() {
    let Some(vhost) = Vhost::fresh() else { return };
    let runtime = || Runtime::new().unwrap();
    let connected = runtime();
    let rabbitmq = connected.block_on(async {
        declare_quorum(&vhost.raw().await, QUEUE).await;
        let rabbitmq = vhost.connect().await;
        accepted(&rabbitmq, to_queue(QUEUE, "first")).await;
        rabbitmq
    });
    connected.shutdown_background();
    let sent = runtime().block_on(async {
        let sender = rabbitmq.sender().await.unwrap();
        let batch = [to_queue(QUEUE, "a")];
        tokio::time::timeout(PATIENCE, sender.send(&batch, within(SOON))).await.unwrap().pop()
    });
    assert!(matches!(sent, Some(Sent::Unknown(_) | Sent::Refused(_))), "{sent:?}");
}

#[tokio::test]
async fn at_the_deadline_an_unconfirmed_message_may_have_arrived_and_an_unsent_one_has_not() {
    let Some(vhost) = Vhost::fresh() else { return };
    declare_quorum(&vhost.raw().await, QUEUE).await;
    let proxy = Proxy::before(&vhost).await;
    let rabbitmq = RabbitMq::connect(&proxy.url).await.unwrap();
    let sender = rabbitmq.sender().await.unwrap();
    accepted(&rabbitmq, to_queue(QUEUE, "first")).await;
    proxy.hold();
    match sender.send(&[to_queue(QUEUE, "a")], within(SOON)).await.pop() {
        Some(Sent::Unknown(error)) => {
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(error.to_string().contains("queue work"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    proxy.close();
    let batch = [to_queue(QUEUE, "b")];
    let refused = async {
        // Until it is noticed, it looks as if it could be sent.
        loop {
            match sender.send(&batch, within(SOON)).await.pop() {
                Some(Sent::Refused(error)) => return error,
                Some(Sent::Unknown(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn while_the_broker_takes_nothing_a_sender_waits_and_says_why() {
    const REASON: &str = "low on memory";
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    declare_quorum(&raw, QUEUE).await;
    let proxy = Proxy::before(&vhost).await;
    let rabbitmq = RabbitMq::connect(&proxy.url).await.unwrap();
    accepted(&rabbitmq, to_queue(QUEUE, "first")).await;
    proxy.block(REASON);
    let sender = rabbitmq.sender().await.unwrap();
    let batch = [to_queue(QUEUE, "taken")];
    let mut expected = vec!["first"];
    let refused = async {
        // Until the word has come through, messages are still taken.
        loop {
            match sender.send(&batch, within(SOON)).await.pop() {
                Some(Sent::Refused(error)) => return error,
                Some(Sent::Accepted { .. }) => expected.push("taken"),
                other => panic!("{other:?}"),
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(REASON), "{error}");

    let sender = rabbitmq.sender().await.unwrap();
    let sending = tokio::spawn(async move { answers(&sender, &[to_queue(QUEUE, "last")]).await });
    proxy.unblock();
    assert!(sending.await.unwrap()[0].is_accepted());
    expected.push("last");
    assert_eq!(take_ids(&raw, QUEUE, expected.len()).await, expected);
}

#[tokio::test]
async fn an_event_says_whether_anybody_gets_it() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    let placed = || to_topic("orders", "orders.placed", "a");
    // The topic is declared by whoever publishes first.
    assert_eq!(accepted(&rabbitmq, placed()).await, Some(false));
    assert_eq!(vhost.exchange("orders")["type"], "topic");
    declare_quorum(&raw, QUEUE).await;
    bind(&raw, QUEUE, "orders", "orders.*").await;
    assert_eq!(accepted(&rabbitmq, placed()).await, Some(true));
    let got = take(&raw, QUEUE).await;
    assert_eq!(got.delivery.exchange.as_str(), "orders");
    assert_eq!(got.delivery.routing_key.as_str(), "orders.placed");
}

#[tokio::test]
async fn a_topic_that_was_deleted_is_declared_again_and_what_was_under_way_arrives() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare_quorum(&raw, QUEUE).await;
    accepted(&rabbitmq, to_topic("orders", "orders.placed", "first")).await;
    delete_exchange(&raw, "orders").await;
    let mut batch: Vec<_> = ids(0..20).iter().map(|id| to_queue(QUEUE, id)).collect();
    batch.insert(10, to_topic("orders", "orders.placed", "event"));
    let sent = answers(&rabbitmq.sender().await.unwrap(), &batch).await;
    assert!(sent.iter().all(Sent::is_accepted), "{sent:?}");
    assert!(matches!(sent[10], Sent::Accepted { routed: Some(false) }), "{:?}", sent[10]);
    let mut distinct = HashSet::new();
    while let Some(got) = get(&raw, QUEUE).await {
        distinct.insert(id_of(&got));
    }
    assert_eq!(distinct, ids(0..20).into_iter().collect());
}

#[tokio::test]
async fn an_exchange_of_others_is_published_to_and_a_missing_one_is_refused_alone() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare_quorum(&raw, QUEUE).await;
    declare_exchange(&raw, "legacy", ExchangeKind::Direct).await;
    bind(&raw, QUEUE, "legacy", "key").await;
    assert_eq!(accepted(&rabbitmq, to_exchange("legacy", "key", "a")).await, Some(true));
    assert_eq!(accepted(&rabbitmq, to_exchange("legacy", "other", "b")).await, Some(false));
    assert_eq!(take(&raw, QUEUE).await.delivery.routing_key.as_str(), "key");

    let batch = [to_queue(QUEUE, "c"), to_exchange("nowhere", "key", "d"), to_queue(QUEUE, "e")];
    match answers(&rabbitmq.sender().await.unwrap(), &batch).await.as_slice() {
        [first, Sent::Refused(error), last] => {
            assert!(first.is_accepted() && last.is_accepted());
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.to_string().contains("nowhere"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    // Gone while it was known to be there: the broker closes the channel, and what was sent to it
    // may have been before.
    delete_exchange(&raw, "legacy").await;
    let batch = [to_exchange("legacy", "key", "f"), to_queue(QUEUE, "g")];
    match answers(&rabbitmq.sender().await.unwrap(), &batch).await.as_slice() {
        [Sent::Unknown(error), last] => {
            assert!(last.is_accepted());
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn missing_dead_letters_are_named_and_a_missing_address_leads_nowhere() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    let dead = || Destination::Queue(QueueRef::Dead(QueueName::foreign(QUEUE)));
    let address = || Destination::Address("answers".to_owned());
    let error = refused(&rabbitmq, to(dead(), message("a")), ErrorKind::NotFound).await;
    assert!(error.to_string().contains("work-dlq"), "{error}");
    assert_eq!(accepted(&rabbitmq, to(address(), message("a"))).await, Some(false));
    for (destination, name) in [(dead(), "work-dlq"), (address(), "answers")] {
        declare_quorum(&raw, name).await;
        assert_eq!(accepted(&rabbitmq, to(destination, message("b"))).await, Some(true));
        assert_eq!(take_ids(&raw, name, 1).await, ["b"]);
    }
}

#[tokio::test]
async fn a_message_over_a_limit_is_refused_before_anything_is_written() {
    const KIB: usize = 1024;
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    declare_quorum(&raw, QUEUE).await;
    let rabbitmq = RabbitMq::connect(&vhost.url_with("body_max", "1000")).await.unwrap();
    let with_body = |bytes: usize| {
        to(main_queue(QUEUE), Envelope { body: vec![b'x'; bytes].into(), ..message("body") })
    };
    let with_header = |bytes: usize| {
        let headers = Headers::from_iter([("h", "x".repeat(bytes))]);
        to(main_queue(QUEUE), Envelope { headers, ..message("header") })
    };
    accepted(&rabbitmq, with_body(1000)).await;
    let error = refused(&rabbitmq, with_body(1001), ErrorKind::TooLarge).await;
    assert!(error.to_string().contains("limit of 1000 (`body_max`)"), "{error}");

    // The frames of this broker have 128 KiB; some of it is kept for what a copy has more.
    accepted(&rabbitmq, with_header(115 * KIB)).await;
    let copy = Outgoing { copy: Some(CopyOf::Redrive), ..with_header(127 * KIB) };
    refused(&rabbitmq, with_header(127 * KIB), ErrorKind::TooLarge).await;
    accepted(&rabbitmq, copy).await;
    let copy = Outgoing { copy: Some(CopyOf::Redrive), ..with_header(128 * KIB) };
    refused(&rabbitmq, copy, ErrorKind::TooLarge).await;
    assert_eq!(take_ids(&raw, QUEUE, 3).await, ["body", "header", "header"]);
}

/// The option says more than the broker takes.
#[tokio::test]
async fn a_message_that_only_the_broker_finds_too_large_fails_alone() {
    const MIB: usize = 1024 * 1024;
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    declare_quorum(&raw, QUEUE).await;
    let all = (1024 * MIB).to_string();
    let rabbitmq = RabbitMq::connect(&vhost.url_with("body_max", &all)).await.unwrap();
    let body: Bytes = vec![0; 128 * MIB + 1].into();
    let large = to(main_queue(QUEUE), Envelope { body, ..message("large") });
    let batch = [to_queue(QUEUE, "a"), large, to_queue(QUEUE, "b")];
    match answers(&rabbitmq.sender().await.unwrap(), &batch).await.as_slice() {
        [first, Sent::Refused(error), last] => {
            assert!(first.is_accepted() && last.is_accepted());
            assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn another_client_reads_properties_and_headers_of_every_type() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare_quorum(&raw, QUEUE).await;
    let mut headers = Headers::new();
    headers.insert("text", "é");
    headers.insert("int", i64::MIN);
    headers.insert("float", 0.1);
    headers.insert("bool", true);
    headers.insert("bytes", Bytes::from_static(&[0, 255]));
    let envelope = Envelope {
        name: Some("orders.placed".into()),
        content_type: Some("application/json".into()),
        sent_at: Some(Timestamp::from_millis(1_700_000_000_123)),
        correlation_id: Some("checkout-1".to_owned()),
        reply_to: Some("answers".to_owned()),
        priority: Some(3),
        headers,
        ..message("order-7")
    };
    accepted(&rabbitmq, to(main_queue(QUEUE), envelope)).await;
    let got = take(&raw, QUEUE).await;
    let properties = &got.delivery.properties;
    let text = |text: &Option<lapin::types::ShortString>| text.as_ref().unwrap().to_string();
    assert_eq!(got.delivery.data, b"{}");
    assert_eq!(text(properties.message_id()), "order-7");
    assert_eq!(text(properties.kind()), "orders.placed");
    assert_eq!(text(properties.content_type()), "application/json");
    assert_eq!(text(properties.correlation_id()), "checkout-1");
    assert_eq!(text(properties.reply_to()), "answers");
    assert_eq!((properties.priority(), properties.delivery_mode()), (&Some(3), &Some(2)));
    assert_eq!(properties.timestamp(), &Some(1_700_000_000));
    let table = properties.headers().as_ref().unwrap().inner();
    let expected = [
        ("text", AMQPValue::LongString("é".into())),
        ("int", AMQPValue::LongLongInt(i64::MIN)),
        ("float", AMQPValue::Double(0.1)),
        ("bool", AMQPValue::Boolean(true)),
        ("bytes", AMQPValue::ByteArray(vec![0, 255].into())),
        ("tramline_sent_at", AMQPValue::LongLongInt(1_700_000_000_123)),
    ];
    for (name, value) in expected {
        assert_eq!(table.get(name), Some(&value), "{name}");
    }
}

#[tokio::test]
async fn a_full_queue_that_nobody_declared_here_is_tried_until_the_deadline() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    let reject = AMQPValue::LongString("reject-publish".into());
    let arguments = [("x-max-length", AMQPValue::LongLongInt(1)), ("x-overflow", reject)];
    declare(&raw, QUEUE, arguments).await;
    accepted(&rabbitmq, to_queue(QUEUE, "a")).await;
    // Long enough for a busy broker to refuse it once.
    let deadline = within(Duration::from_secs(3));
    match rabbitmq.sender().await.unwrap().send(&[to_queue(QUEUE, "b")], deadline).await.pop() {
        Some(Sent::Unknown(error)) => assert!(error.to_string().contains("full"), "{error}"),
        other => panic!("{other:?}"),
    }
    // Room is made while it is tried.
    let sender = rabbitmq.sender().await.unwrap();
    let sending = tokio::spawn(async move { answers(&sender, &[to_queue(QUEUE, "c")]).await });
    assert_eq!(take_ids(&raw, QUEUE, 2).await, ["a", "c"]);
    assert!(sending.await.unwrap()[0].is_accepted());
}

#[tokio::test]
async fn after_the_close_everything_is_refused_as_closed() {
    let Some(vhost) = Vhost::fresh() else { return };
    let rabbitmq = vhost.connect().await;
    rabbitmq.close(within(PATIENCE)).await.unwrap();
    refused(&rabbitmq, to_queue(QUEUE, "a"), ErrorKind::Closed).await;
}

async fn declare_exchange(raw: &crate::kit::Raw, name: &str, kind: ExchangeKind) {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let declared = raw.channel.exchange_declare(name.into(), kind, options, FieldTable::default());
    declared.await.unwrap();
}

async fn delete_exchange(raw: &crate::kit::Raw, name: &str) {
    let options = ExchangeDeleteOptions::default();
    raw.channel.exchange_delete(name.into(), options).await.unwrap();
}

async fn bind(raw: &crate::kit::Raw, queue: &str, exchange: &str, key: &str) {
    let options = QueueBindOptions::default();
    let table = FieldTable::default();
    let bound = raw.channel.queue_bind(queue.into(), exchange.into(), key.into(), options, table);
    bound.await.unwrap();
}
