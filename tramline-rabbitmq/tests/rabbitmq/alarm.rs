//! A broker that is short of memory takes nothing, and whoever consumes goes on.

use crate::kit::{Connect, Vhost};
use crate::receiving::{ack, next, send, source};
use crate::topologies::{QUEUE, assert_says, shown, subscribed};
use lapin::BasicProperties;
use tramline_core::ErrorKind;
use tramline_core::operate::Operate;
use tramline_core::topology::Rule;
use tramline_core::transport::Transport;
use tramline_rabbitmq::RabbitMqReceiver;
use tramline_services::or_skip;
use tramline_services::rabbitmq::Server;

/// Until the broker shows that it has too little of it, or enough.
async fn give_memory(server: &Server, vhost: &Vhost, part: &str, is_too_little: bool) {
    server.rabbitmqctl(&["set_vm_memory_high_watermark", part]).unwrap();
    let is_told = || (vhost.get("nodes")[0]["mem_alarm"] == is_too_little).then_some(());
    shown("how the memory is", is_told).await;
}

/// Takes `count` messages, and waits until the broker has heard that they were handled.
async fn handle(vhost: &Vhost, receiver: &mut RabbitMqReceiver, count: u64, left: u64) {
    for _ in 0..count {
        ack(next(receiver).await).await;
    }
    let is_left = || (vhost.queue(QUEUE)["messages"] == left).then_some(());
    shown("as many messages as were not handled", is_left).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_consumes_comes_back_and_asks_and_starts_while_the_broker_takes_nothing() {
    let Some(server) = or_skip(Server::temporary("alarm", &[])) else { return };
    let vhost = Vhost::on(server.url().parse().unwrap());
    let first = vhost.connect().await;
    first.declare(&subscribed([Rule::subject("old.#")])).await.unwrap();
    let raw = vhost.raw().await;
    send(&raw, &BasicProperties::default(), (0..30).map(|_| "{}".to_owned())).await;
    let mut receiver = first.receiver(&source(1)).await.unwrap();
    handle(&vhost, &mut receiver, 5, 25).await;
    give_memory(&server, &vhost, "0.0000001", true).await;

    // One that was connected asks, and goes on.
    let error = first.queues().await.unwrap_err();
    assert_says(&error, ErrorKind::Unavailable, &["the broker takes nothing", "memory"]);
    handle(&vhost, &mut receiver, 5, 20).await;
    // It comes back.
    first.cut().await;
    handle(&vhost, &mut receiver, 10, 10).await;
    drop((receiver, first));
    // And another starts, with other rules.
    let second = vhost.connect().await;
    second.declare(&subscribed([Rule::subject("new.#")])).await.unwrap();
    let mut receiver = second.receiver(&source(1)).await.unwrap();
    handle(&vhost, &mut receiver, 10, 0).await;
    let bound = || -> Vec<_> {
        let bindings = vhost.bindings().into_iter();
        bindings.filter(|known| known.starts_with("orders → work")).collect()
    };
    assert_eq!(bound(), ["orders → work (new.#)", "orders → work (old.#)"]);
    assert_eq!(vhost.get("nodes")[0]["mem_alarm"], true, "the alarm lasted");

    // What could not be remembered is when it is over.
    give_memory(&server, &vhost, "0.4", false).await;
    let only_new = || (bound() == ["orders → work (new.#)"]).then_some(());
    shown("that the older rules are gone", only_new).await;
    assert_eq!(second.subscriptions().await.unwrap()[0].rules, [Rule::subject("new.#")]);
}
