//! What a user may not send is refused alone, and the error says which permission is missing.

use crate::kit::{Connect, PATIENCE, User, Vhost};
use crate::messages::{
    accepted, after, answers, declare_quorum, get, id_of, refused, to_exchange, to_queue, to_topic,
};
use crate::topologies::assert_says;
use lapin::ExchangeKind;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::FieldTable;
use std::collections::HashSet;
use std::time::Duration;
use tramline_core::transport::{Sent, Transport};
use tramline_core::{Error, ErrorKind};

const QUEUE: &str = "work";
async fn declare_topic(vhost: &Vhost, name: &str) {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let (raw, table) = (vhost.raw().await, FieldTable::default());
    raw.channel.exchange_declare(name.into(), ExchangeKind::Topic, options, table).await.unwrap();
}

/// Why it was not sent. Nobody knows it of what was under way when the channel was closed for another.
fn why(sent: &Sent) -> &Error {
    match sent {
        Sent::Refused(error) | Sent::Unknown(error) => error,
        Sent::Accepted { .. } => panic!("it is forbidden"),
    }
}

/// The refusal closes the channel that all publish on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forbidden_is_refused_alone_and_all_others_arrive() {
    const TASKS: u32 = 8;
    const EACH: u32 = 100;
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    declare_quorum(&raw, QUEUE).await;
    for topic in ["open", "closed"] {
        declare_topic(&vhost, topic).await;
    }
    let user = User::of(&vhost, "", r"^(amq\.default|open)$", "");
    user.permit_topic("open", r"^public\.");
    let rabbitmq = user.connect().await;
    let sender = rabbitmq.sender().await.unwrap();
    let tasks = (0..TASKS).map(|task| {
        let sender = sender.clone();
        tokio::spawn(async move {
            for number in 0..EACH {
                let id = format!("t{task}-{number}");
                let batch = [
                    to_queue(QUEUE, &id),
                    to_exchange("closed", "key", &id),
                    to_topic("open", &format!("secret.{task}"), &id),
                    to_topic("open", "public.news", &id),
                ];
                let sent = answers(&sender, &batch).await;
                assert!(matches!(sent[0], Sent::Accepted { routed: Some(true) }), "{:?}", sent[0]);
                let needs = "needs the permission to write to the exchange `closed`";
                assert_says(why(&sent[1]), ErrorKind::Refused, &["exchange closed", needs]);
                let needs = format!("topic permission to write `secret.{task}`");
                assert_says(why(&sent[2]), ErrorKind::Refused, &["topic open", &needs]);
                assert!(matches!(sent[3], Sent::Accepted { routed: Some(false) }), "{:?}", sent[3]);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
    }
    let mut expected: HashSet<_> =
        (0..TASKS).flat_map(|task| (0..EACH).map(move |n| format!("t{task}-{n}"))).collect();
    while let Some(got) = get(&raw, QUEUE).await {
        expected.remove(&id_of(&got));
    }
    assert!(expected.is_empty(), "{} accepted messages are lost", expected.len());
}

#[tokio::test]
async fn who_may_not_write_to_queues_or_stages_is_told_what_is_missing() {
    let Some(vhost) = Vhost::fresh() else { return };
    declare_quorum(&vhost.raw().await, QUEUE).await;
    let user = User::of(&vhost, "", "", "");
    let rabbitmq = user.connect().await;
    let error = refused(&rabbitmq, to_queue(QUEUE, "a"), ErrorKind::Refused).await;
    assert_says(&error, ErrorKind::Refused, &["queue work", "write to `amq.default`"]);
    let event = to_topic("orders", "orders.placed", "a");
    let error = refused(&rabbitmq, event, ErrorKind::Refused).await;
    assert_says(&error, ErrorKind::Refused, &["topic orders", "to configure `orders`"]);

    let delayed = || after(Duration::from_secs(60), to_queue(QUEUE, "a"));
    let error = refused(&rabbitmq, delayed(), ErrorKind::Refused).await;
    assert_says(&error, ErrorKind::Refused, &["to configure `tramline.undeliverable`"]);
    // All of it is there, and may not be used.
    accepted(&vhost.connect().await, delayed()).await;
    user.permit(
        r"^tramline\.",
        r"^(amq\.default|work|tramline\.(undeliverable|delay\..+|due))$",
        r"^tramline\.",
    );
    let error = refused(&rabbitmq, delayed(), ErrorKind::Refused).await;
    assert_says(&error, ErrorKind::Refused, &["queue work", "what begins with `tramline.`"]);
}

/// The broker remembers what it has once allowed on a channel, and so does the driver for a while what
/// was refused.
#[tokio::test]
async fn what_was_forbidden_is_allowed_a_while_after_the_user_is_permitted_it() {
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    declare_quorum(&raw, QUEUE).await;
    let user = User::of(&vhost, "", "", "");
    let rabbitmq = user.connect().await;
    refused(&rabbitmq, to_queue(QUEUE, "a"), ErrorKind::Refused).await;
    user.permit("", r"^amq\.default$", "");
    let sender = rabbitmq.sender().await.unwrap();
    let allowed = async {
        while !answers(&sender, &[to_queue(QUEUE, "b")]).await[0].is_accepted() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, allowed).await.expect("it is allowed in time");
}
