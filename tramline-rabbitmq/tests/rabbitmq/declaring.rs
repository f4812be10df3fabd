//! Queues and topics look on the broker as they were asked for, and what differs is named.

use crate::kit::{Connect, Vhost};
use crate::messages::{accepted, after, answers, id_of, take, to_queue, to_topic};
use crate::topologies::{QUEUE, assert_says, queue, raw_queue, refused, spec, subscribed, with};
use lapin::ExchangeKind;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};
use std::time::Duration;
use tramline_core::ErrorKind;
use tramline_core::capabilities::Ordering;
use tramline_core::filter::Filter;
use tramline_core::name::QueueName;
use tramline_core::topology::{QueueSpec, Rule, Topology};
use tramline_core::transport::{Sent, Transport};

/// What the broker shows of the queue, once it was declared as `spec` says.
async fn declared(vhost: &Vhost, spec: QueueSpec) -> Value {
    vhost.connect().await.declare(&queue(spec)).await.unwrap();
    vhost.queue(QUEUE)
}

#[tokio::test]
async fn a_queue_is_a_quorum_queue_that_loses_nothing_silently() {
    let Some(vhost) = Vhost::fresh() else { return };
    let shown = declared(&vhost, spec()).await;
    let expected = json!({
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "work-dlq",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-delivery-limit": 100,
    });
    assert_eq!(shown["arguments"], expected);
    assert_eq!((&shown["durable"], &shown["exclusive"]), (&json!(true), &json!(false)));
    let dead = vhost.queue("work-dlq");
    let expected = json!({"x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000});
    assert_eq!(dead["arguments"], expected);
    assert_eq!(
        vhost.bindings(),
        ["tramline.due → work (work)", "tramline.undeliverable → tramline.undeliverable ()",]
    );
    let due = vhost.exchange("tramline.due");
    assert_eq!(due["type"], "direct");
    assert_eq!(due["arguments"], json!({"alternate-exchange": "tramline.undeliverable"}));
    assert_eq!(vhost.exchange("tramline.undeliverable")["type"], "fanout");
}

#[tokio::test]
async fn wishes_become_arguments_of_the_broker() {
    let Some(vhost) = Vhost::fresh() else { return };
    let wishes = QueueSpec {
        ordering: Ordering::PerKey,
        length_max: Some(1000),
        delivery_limit: Some(7),
        keep_dead: Some(Duration::from_secs(3600)),
        ..with([("x-max-length-bytes", "5000000"), ("x-queue-leader-locator", "balanced")])
    };
    let shown = declared(&vhost, wishes).await;
    let arguments = &shown["arguments"];
    for (name, value) in [
        ("x-single-active-consumer", json!(true)),
        ("x-max-length", json!(1000)),
        ("x-max-length-bytes", json!(5_000_000)),
        ("x-overflow", json!("reject-publish")),
        ("x-delivery-limit", json!(7)),
        ("x-queue-leader-locator", json!("balanced")),
    ] {
        assert_eq!(arguments[name], value, "{name}");
    }
    assert_eq!(vhost.queue("work-dlq")["arguments"]["x-message-ttl"], 3_600_000);
}

#[tokio::test]
async fn a_classic_queue_has_priorities_and_a_dead_letter_queue_of_any_name() {
    let Some(vhost) = Vhost::fresh() else { return };
    let wishes = QueueSpec {
        priority_max: Some(9),
        length_max: Some(10),
        ..with([
            ("queue-type", "classic"),
            ("durable", "false"),
            ("auto-delete", "true"),
            ("dead-letter-queue", "Morgue"),
        ])
    };
    let shown = declared(&vhost, wishes).await;
    assert_eq!((&shown["durable"], &shown["auto_delete"]), (&json!(false), &json!(true)));
    let expected = json!({
        "x-queue-type": "classic",
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "Morgue",
        "x-overflow": "reject-publish",
        "x-max-length": 10,
        "x-max-priority": 9,
    });
    assert_eq!(shown["arguments"], expected);
    assert_eq!(vhost.queue("Morgue")["arguments"]["x-queue-type"], "quorum");
    assert_eq!(vhost.queue("work-dlq"), Value::Null);
}

#[tokio::test]
async fn a_dead_letter_queue_that_was_there_is_used_as_it_is() {
    let Some(vhost) = Vhost::fresh() else { return };
    raw_queue(&vhost.raw().await, "Morgue", FieldTable::default()).await;
    declared(&vhost, with([("dead-letter-queue", "Morgue")])).await;
    assert_eq!(vhost.queue("Morgue")["arguments"], json!({}));
}

#[tokio::test]
async fn an_exclusive_queue_is_of_its_connection() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost.connect().await;
    let exclusive = queue(with([("queue-type", "classic"), ("exclusive", "true")]));
    broker.declare(&exclusive).await.unwrap();
    broker.declare(&exclusive).await.unwrap();
    assert_eq!(vhost.queue(QUEUE)["exclusive"], json!(true));
    let error = refused(&vhost.connect().await, &exclusive).await;
    assert_says(&error, ErrorKind::Conflict, &[QUEUE, "exclusive access"]);
}

#[tokio::test]
async fn a_queue_that_was_declared_otherwise_stays_and_the_wish_that_differs_is_named() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost.connect().await;
    broker.declare(&queue(QueueSpec { length_max: Some(5), ..spec() })).await.unwrap();
    let error = refused(&broker, &queue(QueueSpec { length_max: Some(6), ..spec() })).await;
    assert_says(
        &error,
        ErrorKind::Conflict,
        &["queue work", "length_max is Some(5), asked for Some(6)"],
    );
    let other = vhost.connect().await;
    let hour = Some(Duration::from_secs(3600));
    let asked = QueueSpec { length_max: Some(5), keep_dead: hour, ..spec() };
    let error = refused(&other, &queue(asked)).await;
    assert_says(
        &error,
        ErrorKind::Conflict,
        &["work-dlq", "keep_dead is None, asked for Some(3600s)"],
    );
    // Nothing is half done: the next declaration works.
    broker.declare(&queue(QueueSpec { length_max: Some(5), ..spec() })).await.unwrap();
    assert_eq!(vhost.queue(QUEUE)["arguments"]["x-max-length"], 5);
}

#[tokio::test]
async fn everything_that_somebody_else_made_otherwise_is_named_at_once() {
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    raw_queue(&raw, QUEUE, FieldTable::default()).await;
    let mut short = FieldTable::default();
    short.insert("x-max-length".into(), AMQPValue::LongLongInt(3));
    raw_queue(&raw, "mail", short).await;
    let mail = QueueSpec {
        length_max: Some(4),
        ..QueueSpec { name: QueueName::foreign("mail"), ..with([("queue-type", "classic")]) }
    };
    let topology = Topology { queues: vec![spec(), mail], ..Topology::default() };
    let error = refused(&vhost.connect().await, &topology).await;
    assert_says(
        &error,
        ErrorKind::Conflict,
        &["queue work: x-dead-letter-exchange is none, asked for ''", "queue mail: "],
    );
}

#[tokio::test]
async fn a_topic_that_somebody_else_made_otherwise_is_named() {
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let declared = raw.channel.exchange_declare(
        "orders".into(),
        ExchangeKind::Fanout,
        options,
        FieldTable::default(),
    );
    declared.await.unwrap();
    let error = refused(&vhost.connect().await, &subscribed(vec![Rule::subject("#")])).await;
    assert_says(
        &error,
        ErrorKind::Conflict,
        &["exchange orders", "type is 'fanout', asked for 'topic'"],
    );
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_before_anything_is_declared() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost.connect().await;
    let error = refused(&broker, &queue(QueueSpec { priority_max: Some(5), ..spec() })).await;
    assert_says(&error, ErrorKind::Unsupported, &[QUEUE, "priorities", "queue-type=classic"]);
    let mut topology =
        subscribed(vec![Rule { filter: Filter::sql("total >"), ..Rule::subject("#") }]);
    topology.queues.push(QueueSpec::new(QueueName::foreign("tramline.due")));
    topology
        .queues
        .push(QueueSpec { name: QueueName::foreign("mail"), ..with([("lazy", "true")]) });
    let error = refused(&broker, &topology).await;
    let words = ["queue work on topic orders", "tramline.due", "queue mail: there is no argument"];
    assert_says(&error, ErrorKind::Misconfigured, &words);
    assert_eq!(vhost.get("queues/{vhost}"), json!([]));
}

#[tokio::test]
async fn a_user_without_permissions_is_told_which_are_needed() {
    let Some(vhost) = Vhost::fresh() else { return };
    let own = r"^tramline\.";
    vhost.permit(vhost.url.username(), own, own, own);
    let error = refused(&vhost.connect().await, &queue(spec())).await;
    assert_says(
        &error,
        ErrorKind::Refused,
        &["queue work", "ACCESS_REFUSED", "to configure it", "`amq.default`"],
    );
}

#[tokio::test]
async fn a_queue_that_is_joined_is_left_as_it_is() {
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    raw_queue(&raw, "Legacy_Orders", FieldTable::default()).await;
    let name = QueueName::foreign("Legacy_Orders");
    let joined = queue(QueueSpec { name: name.clone(), ..with([("declare", "no")]) });
    let broker = vhost.connect().await;
    broker.declare(&joined).await.unwrap();
    let shown = vhost.queue("Legacy_Orders");
    let to_it = || {
        let bindings = vhost.bindings();
        bindings.into_iter().filter(|known| known.contains("→ Legacy_Orders")).collect::<Vec<_>>()
    };
    assert_eq!(to_it(), [""; 0]);
    assert_eq!((&shown["arguments"], &shown["durable"]), (&json!({}), &json!(true)));
    assert_eq!(vhost.queue("Legacy_Orders-dlq")["arguments"]["x-queue-type"], "quorum");

    // What is due comes to it nonetheless, and only that has changed it.
    accepted(&broker, after(Duration::from_millis(50), to_queue("Legacy_Orders", "later"))).await;
    assert_eq!(id_of(&take(&raw, "Legacy_Orders").await), "later");
    assert_eq!(to_it(), ["tramline.due → Legacy_Orders (Legacy_Orders)"]);

    let missing =
        queue(QueueSpec { name: QueueName::foreign("Nobody"), ..with([("declare", "no")]) });
    let error = refused(&vhost.connect().await, &missing).await;
    assert_says(&error, ErrorKind::NotFound, &["queue Nobody", "to be there already"]);
}

/// A broker that counts on its own would give up on what is looked at, or waits, 20 times.
#[tokio::test]
async fn every_quorum_queue_that_is_made_says_how_often_it_delivers() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost.connect().await;
    broker.declare(&queue(spec())).await.unwrap();
    accepted(&broker, after(Duration::from_millis(1_250), to_queue(QUEUE, "a"))).await;
    let listed = vhost.get("queues/{vhost}");
    let quorum: Vec<&Value> = (listed.as_array().unwrap().iter())
        .filter(|queue| queue["arguments"]["x-queue-type"] == "quorum")
        .collect();
    let of_ours = |queue: &&&Value| queue["name"].as_str().unwrap().starts_with("tramline.");
    assert!(quorum.iter().filter(of_ours).count() >= 4, "registry, undeliverable, stages");
    for queue in quorum {
        let limit = queue["arguments"]["x-delivery-limit"].as_u64().unwrap_or_default();
        let expected = if queue["name"] == QUEUE { 100 } else { 1_000_000_000 };
        assert_eq!(limit, expected, "{}", queue["name"]);
    }
}

#[tokio::test]
async fn rules_become_bindings_and_those_that_were_declared_last_hold() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost.connect().await;
    let gold = Filter::headers_all([("tier", "gold")]);
    let rules = vec![
        Rule::subject("orders.placed"),
        Rule { filter: gold, ..Rule::subject("orders.*") },
        Rule { filter: Filter::subject("*.paid"), ..Rule::subject("orders.*") },
    ];
    broker.declare(&subscribed(rules.clone())).await.unwrap();
    let bindings = || -> Vec<_> {
        let own = |binding: &String| {
            !binding.starts_with("tramline.due") && !binding.starts_with("tramline.und")
        };
        vhost.bindings().into_iter().filter(own).collect()
    };
    assert_eq!(
        bindings(),
        [
            "orders → tramline.headers:orders:orders.* (orders.*)",
            "orders → tramline.topic:orders:orders.* (orders.*)",
            "orders → work (orders.placed)",
            r#"tramline.headers:orders:orders.* → work () {"tier":"gold","x-match":"all"}"#,
            "tramline.topic:orders:orders.* → work (*.paid)",
        ]
    );
    // Another process, with the next version of the program.
    vhost.connect().await.declare(&subscribed(vec![Rule::subject("orders.#")])).await.unwrap();
    let to_work: Vec<_> = bindings().into_iter().filter(|known| known.contains("→ work")).collect();
    assert_eq!(to_work, ["orders → work (orders.#)"]);
}

/// The broker says neither why it refuses a message nor how long a queue may be.
#[tokio::test]
async fn a_queue_that_is_full_says_so_to_who_has_not_declared_it() {
    let Some(vhost) = Vhost::fresh() else { return };
    let limited = QueueSpec { length_max: Some(2), ..spec() };
    let topology = Topology { queues: vec![limited], ..subscribed([Rule::subject("#")]) };
    vhost.connect().await.declare(&topology).await.unwrap();
    let stranger = vhost.connect().await;
    let sender = stranger.sender().await.unwrap();
    for to in [to_queue(QUEUE, "a"), to_topic("orders", "orders.placed", "a")] {
        let full = loop {
            match answers(&sender, std::slice::from_ref(&to)).await.pop() {
                Some(Sent::Accepted { .. }) => {}
                other => break other,
            }
        };
        let Some(Sent::Refused(error)) = full else { panic!("expected a refusal: {full:?}") };
        assert_says(&error, ErrorKind::Full, &["maximum length"]);
    }
}
