//! Who may kill the process is handled alone, and the broker remembers how often.

use crate::kit::Vhost;
use crate::receiving::{ack, body, declare, next, send, source};
use lapin::BasicProperties;
use tramline_core::transport::{Delivery, Transport};
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

fn trials(vhost: &Vhost) -> usize {
    vhost.bindings().iter().filter(|binding| binding.starts_with("tramline.trials → ")).count()
}
