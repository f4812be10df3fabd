//! What was settled stays settled: the broker's end of a channel keeps what comes fast, and forgets it
//! if the channel ends at once.

use crate::kit::{Connect, Vhost};
use crate::receiving::{ack, body, close, declare, next, send_numbers, source, take};
use std::collections::BTreeSet;
use tramline_core::transport::{Receiver, Transport};
use tramline_rabbitmq::RabbitMqDelivery;

/// More than the broker lets be on their way to a queue.
const MANY: u32 = 200;

/// What comes again after a close, if `settle` has seen all messages and still holds what it answers.
async fn what_comes_again_after(
    settle: impl AsyncFn(Vec<RabbitMqDelivery>) -> Option<RabbitMqDelivery>,
) -> Option<BTreeSet<u32>> {
    let vhost = Vhost::fresh()?;
    let (raw, first) = (vhost.raw().await, vhost.connect().await);
    declare(&raw, "quorum").await;
    send_numbers(&raw, 0..MANY).await;
    let mut receiver = first.receiver(&source(MANY)).await.unwrap();
    let taken = take(&mut receiver, MANY as usize).await;
    receiver.stop().await.unwrap();
    drop(receiver);
    let kept = settle(taken).await;
    close(first).await;
    drop(kept);

    // What came back stands before it, all at once.
    send_numbers(&raw, MANY..MANY + 1).await;
    let second = vhost.connect().await;
    let mut receiver = second.receiver(&source(1)).await.unwrap();
    let mut again = BTreeSet::new();
    loop {
        let delivery = next(&mut receiver).await;
        let number = body(&delivery).parse().unwrap();
        ack(delivery).await;
        if number == MANY {
            close(second).await;
            return Some(again);
        }
        again.insert(number);
    }
}

#[tokio::test]
async fn of_what_is_settled_before_the_end_of_a_channel_nothing_comes_again() {
    let every_second_is_dropped = async |taken: Vec<RabbitMqDelivery>| {
        for delivery in taken {
            if body(&delivery).parse::<u32>().unwrap().is_multiple_of(2) {
                ack(delivery).await;
            }
        }
        None
    };
    let Some(again) = what_comes_again_after(every_second_is_dropped).await else { return };
    assert_eq!(again, (0..MANY).filter(|number| number % 2 == 1).collect());
}

#[tokio::test]
async fn of_what_is_settled_before_a_close_nothing_comes_again() {
    let first_is_kept = async |taken: Vec<RabbitMqDelivery>| {
        let mut taken = taken.into_iter();
        let kept = taken.next();
        for delivery in taken {
            ack(delivery).await;
        }
        kept
    };
    let Some(again) = what_comes_again_after(first_is_kept).await else { return };
    assert_eq!(again, BTreeSet::from([0]));
}
