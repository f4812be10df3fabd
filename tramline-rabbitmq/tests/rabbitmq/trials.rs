//! Who may kill the process is handled alone, and the broker remembers how often.

use crate::kit::Vhost;
use crate::receiving::{ack, body, cut_until_lost, declare, next, send, source};
use crate::topologies::shown;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use std::collections::BTreeMap;
use std::time::Duration;
use tramline_core::settlement::Settlement;
use tramline_core::transport::{Delivery, Receiver, Source, Transport};
use tramline_rabbitmq::{RabbitMq, RabbitMqDelivery, RabbitMqReceiver};

/// A message that came back twice.
async fn suspect(receiver: &mut RabbitMqReceiver) -> RabbitMqDelivery {
    drop(next(receiver).await);
    drop(next(receiver).await);
    let third = next(receiver).await;
    assert_eq!(third.deliveries(), Some(3));
    third
}

/// A process that dies with what it holds.
async fn die(rabbitmq: RabbitMq, receiver: RabbitMqReceiver, held: RabbitMqDelivery) {
    crate::receiving::close(rabbitmq).await;
    drop((receiver, held));
}

#[tokio::test]
async fn a_trial_is_remembered_beyond_the_process_until_the_message_is_settled() {
    let Some(vhost) = Vhost::fresh() else { return };
    let raw = vhost.raw().await;
    declare(&raw, "quorum").await;
    let properties = BasicProperties::default().with_message_id("killer".into());
    send(&raw, &properties, ["0".to_owned()]).await;
    let first = vhost.connect().await;
    let mut receiver = first.receiver(&source(10)).await.unwrap();
    let mut held = suspect(&mut receiver).await;
    assert_eq!(held.marks().trials, 0);
    held.mark_trial().await.unwrap();
    assert_eq!(held.marks().trials, 1);
    die(first, receiver, held).await;

    let second = vhost.connect().await;
    let mut receiver = second.receiver(&source(10)).await.unwrap();
    let mut held = next(&mut receiver).await;
    assert_eq!((held.deliveries(), held.marks().trials), (Some(4), 1));
    held.mark_trial().await.unwrap();
    die(second, receiver, held).await;

    let third = vhost.connect().await;
    let mut receiver = third.receiver(&source(10)).await.unwrap();
    let held = next(&mut receiver).await;
    assert_eq!(held.marks().trials, 2);
    assert_eq!(trials(&vhost), 2);
    ack(held).await;
    assert_eq!(trials(&vhost), 0, "{:?}", vhost.bindings());

    // Redriven, it is not to blame for what it did before.
    send(&raw, &properties, ["0".to_owned()]).await;
    let again = suspect(&mut receiver).await;
    assert_eq!(again.marks().trials, 0);
}

#[tokio::test]
async fn messages_without_ids_are_told_apart() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    let mut receiver = rabbitmq.receiver(&source(1)).await.unwrap();
    send(&raw, &BasicProperties::default(), ["0".to_owned()]).await;
    let mut killer = suspect(&mut receiver).await;
    killer.mark_trial().await.unwrap();
    drop(killer);
    let killer = next(&mut receiver).await;
    assert_eq!(killer.marks().trials, 1);
    send(&raw, &BasicProperties::default(), ["1".to_owned()]).await;
    let mut other = rabbitmq.receiver(&source(1)).await.unwrap();
    let innocent = suspect(&mut other).await;
    assert_eq!((body(&innocent).as_str(), innocent.marks().trials), ("1", 0));
    ack(innocent).await;
    assert_eq!(trials(&vhost), 1);
    drop((other, killer));
    assert_eq!(next(&mut receiver).await.marks().trials, 1);
}

#[tokio::test]
async fn a_trial_that_was_cut_short_by_a_lost_connection_is_forgotten() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    send(&raw, &BasicProperties::default(), ["0".to_owned()]).await;
    let mut receiver = rabbitmq.receiver(&source(10)).await.unwrap();
    let mut held = suspect(&mut receiver).await;
    held.mark_trial().await.unwrap();
    assert_eq!(trials(&vhost), 1);
    cut_until_lost(&vhost, &held).await;
    drop(held);
    shown("that the trial is forgotten", || (trials(&vhost) == 0).then_some(())).await;
    let again = next(&mut receiver).await;
    assert!(again.deliveries() >= Some(4), "{again:?}");
}

#[tokio::test]
async fn who_gives_a_message_back_has_outlived_its_trial() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    send(&raw, &BasicProperties::default(), ["0".to_owned()]).await;
    let mut receiver = rabbitmq.receiver(&source(10)).await.unwrap();
    let mut dropped = suspect(&mut receiver).await;
    dropped.mark_trial().await.unwrap();
    drop(dropped);
    let mut returned = next(&mut receiver).await;
    returned.mark_trial().await.unwrap();
    assert_eq!((returned.marks().trials, trials(&vhost)), (2, 2));
    returned.settle(Settlement::Return).await.unwrap();
    assert_eq!(next(&mut receiver).await.marks().trials, 1);
}

#[tokio::test]
async fn as_long_as_the_broker_does_not_say_who_was_tried_others_are_handled() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    let mut receiver = rabbitmq.receiver(&source(1)).await.unwrap();
    send(&raw, &BasicProperties::default(), ["0".to_owned()]).await;
    let mut killer = suspect(&mut receiver).await;
    killer.mark_trial().await.unwrap();
    drop((killer, receiver));
    forbid_to_ask(&vhost, true);
    let patient = RabbitMq::connect(&vhost.url_with("hold_max", "100000")).await.unwrap();
    let mut receiver = patient.receiver(&source(10)).await.unwrap();
    send(&raw, &BasicProperties::default(), ["1".to_owned()]).await;
    let other = next(&mut receiver).await;
    assert_eq!((body(&other).as_str(), other.deliveries()), ("1", Some(1)));
    // Nothing shows that the killer does not come, so this asks for a moment.
    let early = tokio::time::timeout(Duration::from_millis(300), receiver.next()).await;
    assert!(early.is_err(), "it is handled although nobody knows: {early:?}");
    forbid_to_ask(&vhost, false);
    let killer = next(&mut receiver).await;
    assert_eq!((body(&killer).as_str(), killer.marks().trials), ("0", 1));
}

#[tokio::test]
async fn if_the_broker_never_says_who_was_tried_it_is_tried_once_more() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    let mut receiver = rabbitmq.receiver(&source(1)).await.unwrap();
    send(&raw, &BasicProperties::default(), ["0".to_owned()]).await;
    let mut killer = suspect(&mut receiver).await;
    killer.mark_trial().await.unwrap();
    drop((killer, receiver));
    forbid_to_ask(&vhost, true);
    let hasty = RabbitMq::connect(&vhost.url_with("hold_max", "1")).await.unwrap();
    let mut receiver = hasty.receiver(&source(10)).await.unwrap();
    let mut killer = next(&mut receiver).await;
    assert_eq!((killer.deliveries() >= Some(4), killer.marks().trials), (true, 0));
    killer.mark_trial().await.unwrap();
    assert_eq!(trials(&vhost), 2, "each trial has a mark of its own");
    forbid_to_ask(&vhost, false);
    drop(killer);
    assert_eq!(next(&mut receiver).await.marks().trials, 2);
}

#[tokio::test]
async fn where_deliveries_are_not_counted_the_trials_of_a_copy_count_themselves() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "classic").await;
    let tried = BTreeMap::from([("tramline_trials".into(), AMQPValue::LongInt(1))]);
    let properties = BasicProperties::default().with_headers(FieldTable::from(tried));
    send(&raw, &properties, ["0".to_owned()]).await;
    let mut source: Source = source(10);
    source.spec.arguments.insert("queue-type".to_owned(), "classic".to_owned());
    let mut receiver = rabbitmq.receiver(&source).await.unwrap();
    for trials in 1..4 {
        let mut held = next(&mut receiver).await;
        assert_eq!(held.marks().trials, trials);
        held.mark_trial().await.unwrap();
        assert_eq!(held.marks().trials, trials + 1);
    }
    ack(next(&mut receiver).await).await;
    assert_eq!(trials(&vhost), 0);
}

#[tokio::test]
async fn what_is_remembered_of_a_message_that_vanished_expires() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    let mut receiver = rabbitmq.receiver(&source(1)).await.unwrap();
    send(&raw, &BasicProperties::default(), ["0".to_owned()]).await;
    let mut held = suspect(&mut receiver).await;
    held.mark_trial().await.unwrap();
    let queues = vhost.get("queues/{vhost}");
    let named = |name: &str| name.starts_with("tramline.trials.");
    let queues = queues.as_array().unwrap().iter();
    let expires: Vec<_> = queues
        .filter(|queue| named(queue["name"].as_str().unwrap()))
        .map(|queue| queue["arguments"]["x-expires"].as_u64().unwrap())
        .collect();
    assert_eq!(expires, [14 * 24 * 3600 * 1000]);
}

/// Who may not publish to the exchange is never answered. For connections that begin after it.
fn forbid_to_ask(vhost: &Vhost, forbids: bool) {
    let user = vhost.url.username();
    let write = if forbids { "^(?!tramline.trials$)" } else { ".*" };
    let body = format!(r#"{{"configure":".*","write":"{write}","read":".*"}}"#);
    vhost.ask("PUT", &format!("/api/permissions/{}/{user}", vhost.name), Some(&body));
}

fn trials(vhost: &Vhost) -> usize {
    let is_trial = |binding: &&String| binding.starts_with("tramline.trials → ");
    vhost.bindings().iter().filter(is_trial).count()
}
