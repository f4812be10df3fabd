//! Delays are exact by the clock.

use crate::kit::{Polled, SECOND, Scene, ack, id, message, take, take_nothing, work};
use std::time::Duration;
use tramline_core::clock::Clock;
use tramline_core::operate::Operate;
use tramline_core::settlement::{Marks, Settlement};
use tramline_core::transport::{Delivery, Outgoing, Receiver};
use tramline_memory::MemoryDelivery;

const MICROSECOND: Duration = Duration::from_micros(1);

#[tokio::test]
async fn a_delayed_message_is_taken_at_its_time_and_not_a_microsecond_before() {
    let scene = Scene::new().await;
    let due = Some(scene.clock.now().after(SECOND));
    scene.send([Outgoing { due, ..message("later") }]).await;
    let mut receiver = scene.receiver().await;
    let mut next = Polled::new(receiver.next());
    next.pending("it is not due");
    scene.clock.advance(SECOND - MICROSECOND);
    assert!(!next.is_woken(), "nothing has happened");
    next.pending("it is not due yet");
    scene.clock.advance(MICROSECOND);
    assert!(next.is_woken());
    assert_eq!(id(&next.ready("a due message").unwrap().unwrap()), "later");
}

#[tokio::test]
async fn what_became_due_while_nobody_waited_is_taken_in_the_order_of_arrival() {
    let scene = Scene::new().await;
    let now = scene.clock.now();
    let due = |seconds: u32| Some(now.after(SECOND * seconds));
    let (late, early) = (message("sent first"), message("sent second"));
    scene.send([Outgoing { due: due(2), ..late }, Outgoing { due: due(1), ..early }]).await;
    scene.clock.advance(SECOND * 3);
    let mut receiver = scene.receiver().await;
    for expected in ["sent first", "sent second"] {
        let delivery = take(&mut receiver).await;
        assert_eq!(id(&delivery), expected);
        ack(delivery).await;
    }
}

#[tokio::test]
async fn a_retried_message_comes_back_into_its_place_after_its_pause() {
    let scene = Scene::new().await;
    scene.send(["a", "b", "c"].map(message)).await;
    let mut receiver = scene.receiver().await;
    retry(take(&mut receiver).await, SECOND).await;
    let b = take(&mut receiver).await;
    assert_eq!(id(&b), "b", "others overtake it during its pause");
    scene.clock.advance(SECOND);
    let again = take(&mut receiver).await;
    assert_eq!((id(&again).as_str(), again.failures(), again.deliveries()), ("a", 1, Some(1)));
}

#[tokio::test]
async fn a_returned_message_stands_before_those_that_came_after_it() {
    let scene = Scene::new().await;
    scene.send(["a", "b"].map(message)).await;
    let mut receiver = scene.receiver().await;
    drop(take(&mut receiver).await);
    assert_eq!(id(&take(&mut receiver).await), "a");
}

#[tokio::test]
async fn the_age_counts_from_when_a_message_could_be_taken() {
    let scene = Scene::new().await;
    let due = Some(scene.clock.now().after(SECOND));
    scene.send([Outgoing { due, ..message("later") }]).await;
    assert_eq!(scene.memory.age(&work()).await.unwrap(), None, "nothing is ready");
    scene.clock.advance(SECOND * 3);
    assert_eq!(scene.memory.age(&work()).await.unwrap(), Some(SECOND * 2));

    let mut receiver = scene.receiver().await;
    retry(take(&mut receiver).await, SECOND).await;
    scene.clock.advance(SECOND * 5);
    assert_eq!(scene.memory.age(&work()).await.unwrap(), Some(SECOND * 4), "after its pause");
    let again = take(&mut receiver).await;
    retry(again, Duration::ZERO).await;
    assert_eq!(scene.memory.age(&work()).await.unwrap(), Some(Duration::ZERO), "it came anew");
    take_the_only_one(&scene).await;
}

/// The depth agrees with what a receiver gets, however time went on in between.
async fn take_the_only_one(scene: &Scene) {
    let depth = scene.memory.depth(&work()).await.unwrap();
    assert_eq!((depth.ready.known(), depth.delayed.known()), (Some(1), Some(0)));
    let mut receiver = scene.receiver().await;
    ack(take(&mut receiver).await).await;
    take_nothing(&mut receiver).await;
}

async fn retry(delivery: MemoryDelivery, after: Duration) {
    let marks = Marks::default();
    let how = Settlement::Retry { after, failures: 1, notes: Vec::new(), marks };
    delivery.settle(how).await.unwrap();
}
