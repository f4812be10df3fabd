//! Exchanges and bindings of others are made as they are asked for, or joined untouched.

use crate::kit::{Connect, PATIENCE, Vhost};
use crate::topologies::{assert_says, queue, raw_queue, refused, shown, spec, with};
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ExchangeKind};
use serde_json::json;
use tramline_core::ErrorKind;
use tramline_core::name::{QueueName, TopicName};
use tramline_core::topology::{QueueSpec, Rule, Subscription, Topology};
use tramline_core::transport::Transport;
use tramline_rabbitmq::{Binding, Exchange};

#[tokio::test]
async fn exchanges_of_every_kind_are_declared_and_bound_and_come_back() {
    let Some(vhost) = Vhost::fresh() else { return };
    let broker = vhost
        .connect()
        .await
        .exchange(Exchange::direct("direct").durable(false).auto_delete(true))
        .exchange(Exchange::fanout("Fan.Out").internal(true))
        .exchange(Exchange::topic("topic").argument("alternate-exchange", "Fan.Out"))
        .exchange(Exchange::headers("legacy.events"))
        .bind(Binding::queue("work").from("direct").key("here"))
        .bind(Binding::exchange("Fan.Out").from("topic").key("#.eu"))
        .bind(Binding::queue("work").from("Fan.Out"))
        .bind(
            Binding::queue("work")
                .from("legacy.events")
                .argument("x-match", "any")
                .argument("tier", "gold")
                .argument("level", 7),
        );
    broker.declare(&queue(spec())).await.unwrap();
    let foreign = |vhost: &Vhost| -> Vec<String> {
        let own = |known: &String| known.starts_with("tramline.");
        vhost.bindings().into_iter().filter(|known| !own(known)).collect()
    };
    let expected = [
        "Fan.Out → work ()",
        "direct → work (here)",
        r#"legacy.events → work () {"level":7,"tier":"gold","x-match":"any"}"#,
        "topic → Fan.Out (#.eu)",
    ];
    assert_eq!(foreign(&vhost), expected);
    for (name, kind, durable, auto_delete, internal) in [
        ("direct", "direct", false, true, false),
        ("Fan.Out", "fanout", true, false, true),
        ("topic", "topic", true, false, false),
        ("legacy.events", "headers", true, false, false),
    ] {
        let shown = vhost.exchange(name);
        assert_eq!(shown["type"], kind, "{name}");
        let flags = [&shown["durable"], &shown["auto_delete"], &shown["internal"]];
        assert_eq!(flags, [&json!(durable), &json!(auto_delete), &json!(internal)], "{name}");
    }
    let alternate = json!({"alternate-exchange": "Fan.Out"});
    assert_eq!(vhost.exchange("topic")["arguments"], alternate);

    // Somebody removes what is there, and the next connection brings it back.
    for name in ["topic", "Fan.Out", "legacy.events"] {
        vhost.ask("DELETE", &format!("/api/exchanges/{}/{name}", vhost.name), None);
    }
    assert_eq!(foreign(&vhost), ["direct → work (here)"]);
    shown("connections to cut", || (vhost.cut_all() >= 2).then_some(())).await;
    shown("the bindings again", || (foreign(&vhost) == expected).then_some(())).await;
}

#[tokio::test]
async fn what_was_there_is_joined_and_left_as_it_is() {
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    let declared = raw.channel.exchange_declare(
        "Legacy".into(),
        ExchangeKind::Fanout,
        ExchangeDeclareOptions::default(),
        FieldTable::default(),
    );
    declared.await.unwrap();
    raw_queue(&raw, "Legacy_Orders", FieldTable::default()).await;
    let name = QueueName::foreign("Legacy_Orders");
    let subscription = Subscription {
        queue: name.clone(),
        topic: TopicName::foreign("Legacy"),
        rules: vec![Rule::subject("#")],
    };
    let joined = Topology {
        topics: vec![subscription.topic.clone()],
        subscriptions: vec![subscription],
        ..queue(QueueSpec { name, ..with([("declare", "no")]) })
    };
    let broker = vhost.connect().await.exchange(Exchange::existing("Legacy"));
    broker.declare(&joined).await.unwrap();
    let exchange = vhost.exchange("Legacy");
    assert_eq!((&exchange["type"], &exchange["durable"]), (&json!("fanout"), &json!(false)));
    assert_eq!(vhost.queue("Legacy_Orders")["arguments"], json!({}));

    // What others publish arrives.
    raw.channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default();
    let sent = raw.channel.basic_publish("Legacy".into(), "any".into(), options, b"{}", properties);
    drop(sent.await.unwrap());
    assert!(raw.channel.wait_for_confirms().await.unwrap().is_empty(), "it was returned");
    let get = raw.channel.basic_get("Legacy_Orders".into(), BasicGetOptions::default());
    let got = tokio::time::timeout(PATIENCE, get).await.unwrap().unwrap();
    assert_eq!(got.expect("a message").delivery.data, b"{}");
}

#[tokio::test]
async fn what_is_not_there_or_differs_is_named() {
    let Some(vhost) = Vhost::fresh() else { return };
    let with = async |exchange| vhost.connect().await.exchange(exchange);
    let error = refused(&with(Exchange::existing("Nobody")).await, &queue(spec())).await;
    assert_says(&error, ErrorKind::NotFound, &["exchange Nobody", "to be there already"]);
    with(Exchange::direct("mine")).await.declare(&queue(spec())).await.unwrap();
    let error = refused(&with(Exchange::fanout("mine")).await, &queue(spec())).await;
    let words = ["exchange mine", "type is 'direct', asked for 'fanout'"];
    assert_says(&error, ErrorKind::Conflict, &words);

    let bound = async |binding| vhost.connect().await.bind(binding);
    let error = refused(&bound(Binding::queue("work")).await, &queue(spec())).await;
    assert_says(&error, ErrorKind::Misconfigured, &["bind work", "`.from(…)`"]);
    let nowhere = Binding::queue("work").from("nowhere");
    let error = refused(&bound(nowhere).await, &queue(spec())).await;
    assert_says(&error, ErrorKind::NotFound, &["bind queue work to exchange nowhere"]);
}
