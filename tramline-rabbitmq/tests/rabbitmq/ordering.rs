//! What is handled in order is handed on in order.

use crate::kit::{Connect, PATIENCE, Raw, Vhost};
use crate::receiving::{ack, body, declare_with, next, next_or_end, send_numbers, source};
use lapin::types::AMQPValue;
use std::time::Duration;
use tramline_core::capabilities::Ordering;
use tramline_core::settlement::{Settled, Settlement};
use tramline_core::topology::Topology;
use tramline_core::transport::{Delivery, Receiver, Source, Transport};
use tramline_rabbitmq::{RabbitMqDelivery, RabbitMqReceiver};

async fn declare(raw: &Raw, kind: &str) {
    declare_with(raw, kind, [("x-single-active-consumer", AMQPValue::Boolean(true))]).await;
}

/// Holds up to five messages, all of which are in one order.
fn in_order() -> Source {
    let mut source = source(5);
    source.spec.ordering = Ordering::PerQueue;
    source
}

/// The same of a queue of others, which have declared it with a single active consumer.
fn of_others() -> Source {
    let mut source = in_order();
    for (name, value) in [("declare", "no"), ("x-single-active-consumer", "true")] {
        source.spec.arguments.insert(name.to_owned(), value.to_owned());
    }
    source
}

/// Takes and acks these numbers, and no others.
async fn ack_all(receiver: &mut RabbitMqReceiver, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let delivery = next(receiver).await;
        assert_eq!(body(&delivery), number.to_string());
        ack(delivery).await;
    }
}

/// Nothing shows that nothing comes, so this asks for a moment.
async fn assert_nothing_comes(receiver: &mut RabbitMqReceiver) {
    const MOMENT: Duration = Duration::from_millis(200);
    if let Ok(next) = tokio::time::timeout(MOMENT, receiver.next()).await {
        panic!(
            "{} overtook what is at work",
            next.unwrap().map_or("the end".into(), |it| body(&it))
        );
    }
}

async fn give_back(delivery: RabbitMqDelivery) {
    assert_eq!(delivery.settle(Settlement::Return).await.unwrap(), Settled::Done);
}

/// One of two processes stops, or lets go of its receiver, with messages at work.
async fn handed_on_in_order(kind: &str, source: Source, stops: bool) {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, here, there) = (vhost.raw().await, vhost.connect().await, vhost.connect().await);
    declare(&raw, kind).await;
    send_numbers(&raw, 0..20).await;
    if source.spec.arguments.contains_key("declare") {
        for broker in [&here, &there] {
            let queues = vec![source.spec.clone()];
            broker.declare(&Topology { queues, ..Topology::default() }).await.unwrap();
        }
    }
    let mut first = here.receiver(&source).await.unwrap();
    ack_all(&mut first, 0..3).await;
    let mut second = there.receiver(&source).await.unwrap();
    let (slow, returned, dropped) =
        (next(&mut first).await, next(&mut first).await, next(&mut first).await);
    if stops {
        first.stop().await.unwrap();
        assert!(next_or_end(&mut first).await.is_none());
    } else {
        drop(first);
    }
    give_back(returned).await;
    drop(dropped);
    assert_nothing_comes(&mut second).await;
    assert_eq!(body(&slow), "3");
    ack(slow).await;
    ack_all(&mut second, 4..20).await;
}

#[tokio::test]
async fn a_quorum_queue_is_handed_on_in_order_when_all_that_a_stopped_receiver_had_is_settled() {
    handed_on_in_order("quorum", in_order(), true).await;
}

#[tokio::test]
async fn a_classic_queue_is_handed_on_in_order_when_all_that_a_stopped_receiver_had_is_settled() {
    handed_on_in_order("classic", in_order(), true).await;
}

#[tokio::test]
async fn a_queue_is_handed_on_in_order_when_all_that_a_dropped_receiver_had_is_settled() {
    handed_on_in_order("quorum", in_order(), false).await;
}

#[tokio::test]
async fn a_queue_of_others_with_a_single_active_consumer_is_handed_on_in_order_too() {
    handed_on_in_order("quorum", of_others(), true).await;
}

#[tokio::test]
async fn an_idle_receiver_in_order_hands_on_as_soon_as_it_stops() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, here, there) = (vhost.raw().await, vhost.connect().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    let mut first = here.receiver(&in_order()).await.unwrap();
    let mut second = there.receiver(&in_order()).await.unwrap();
    first.stop().await.unwrap();
    assert!(next_or_end(&mut first).await.is_none());
    send_numbers(&raw, 0..3).await;
    ack_all(&mut second, 0..3).await;
}

#[tokio::test]
async fn what_goes_back_in_an_order_comes_again_in_its_place() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    send_numbers(&raw, 0..10).await;
    let mut receiver = rabbitmq.receiver(&in_order()).await.unwrap();
    let (before, returned, behind) =
        (next(&mut receiver).await, next(&mut receiver).await, next(&mut receiver).await);
    // Whatever is behind it must not overtake it, and it must not overtake what is at work before it.
    give_back(returned).await;
    assert_nothing_comes(&mut receiver).await;
    drop(behind);
    ack(before).await;
    ack_all(&mut receiver, 1..10).await;
}

#[tokio::test]
async fn what_is_in_no_order_comes_again_at_once() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, rabbitmq) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    send_numbers(&raw, 0..2).await;
    let mut by_key = source(5);
    by_key.spec.ordering = Ordering::PerKey;
    let mut receiver = rabbitmq.receiver(&by_key).await.unwrap();
    let (returned, at_work) = (next(&mut receiver).await, next(&mut receiver).await);
    give_back(returned).await;
    let again = next(&mut receiver).await;
    assert_eq!((body(&again), body(&at_work)), ("0".to_owned(), "1".to_owned()));
}

#[tokio::test]
async fn a_lost_connection_hands_on_what_was_at_work_and_what_follows_it() {
    let Some(vhost) = Vhost::fresh() else { return };
    let (raw, here, there) = (vhost.raw().await, vhost.connect().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    send_numbers(&raw, 0..10).await;
    let mut first = here.receiver(&in_order()).await.unwrap();
    let mut second = there.receiver(&in_order()).await.unwrap();
    let at_work = next(&mut first).await;
    first.stop().await.unwrap();
    here.cut().await;
    tokio::time::timeout(PATIENCE, at_work.lost()).await.expect("the lease is lost");
    ack_all(&mut second, 0..10).await;
    assert_eq!(at_work.settle(Settlement::Ack).await.unwrap(), Settled::LeaseLost);
}
