//! A failed message comes back after a pause, with what the bus has recorded about it.

use crate::TransportHarness;
use crate::kit::consumer::{ack, settle};
use crate::kit::engine::{Failed, note, retry};
use crate::kit::message::{
    assert_same, complete_message, copy, message, queue_name, to_queue, to_topic,
};
use crate::kit::scene::{Scene, WORK, assert_kind};
use crate::kit::time::{due_in, now};
use crate::kit::topology::{queues, subscribed};
use std::time::Duration;
use tramline_core::ErrorKind;
use tramline_core::capabilities::DeliveryCount;
use tramline_core::dead::History;
use tramline_core::name::QueueRef;
use tramline_core::settlement::{Marks, Settlement};
use tramline_core::topology::Rule;
use tramline_core::transport::{CopyOf, Delivery};

pub async fn a_retried_message_comes_back_as_it_was_with_its_failures_and_notes<
    H: TransportHarness,
>(
    harness: H,
) {
    let scene = Scene::fresh(&harness).await;
    let sent = complete_message();
    scene.send(to_queue(WORK, sent.clone())).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    let mut notes = Vec::new();
    for failures in 1..=3 {
        let failed = Failed::again(failures);
        notes.extend(failed.notes.clone());
        retry(&scene, WORK, consumer.next().await, Duration::ZERO, failed).await;
    }
    let again = consumer.next().await;
    assert_same(again.envelope(), &sent);
    assert_eq!(again.failures(), 3);
    assert_eq!(again.history(), notes);
    ack(again).await;
}

pub async fn marks_come_back_and_an_uncharged_retry_leaves_failures_alone<H: TransportHarness>(
    harness: H,
) {
    let scene = Scene::fresh(&harness).await;
    scene.send(to_queue(WORK, message("a"))).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    let failed = Failed::again(1);
    let notes = failed.notes.clone();
    let delivery = consumer.next_is("a").await;
    retry(&scene, WORK, delivery, Duration::ZERO, failed).await;

    let marks = Marks { trials: 2, unhandled_since: Some(due_in(Duration::ZERO)) };
    let uncharged = Failed { failures: 1, notes: Vec::new(), marks };
    let delivery = consumer.next_is("a").await;
    retry(&scene, WORK, delivery, Duration::ZERO, uncharged).await;

    let again = consumer.next_is("a").await;
    assert_eq!(again.marks(), marks);
    assert_eq!(again.failures(), 1, "nothing was charged");
    assert_eq!(again.history(), notes, "nothing was noted");
    ack(again).await;
}

pub async fn a_retried_message_comes_back_after_its_pause_and_others_overtake_it<
    H: TransportHarness,
>(
    harness: H,
) {
    /// Longer than it takes to deliver the other message, even on a busy machine.
    const PAUSE: Duration = Duration::from_millis(500);
    let scene = Scene::fresh(&harness).await;
    let can = scene.can(WORK);
    if !can.delayed_retry.is_native() && can.delay.is_none() {
        return;
    }
    scene.send(to_queue(WORK, message("a"))).await;
    scene.send(to_queue(WORK, message("b"))).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    let failing = consumer.next_is("a").await;
    let due = now().after(PAUSE);
    retry(&scene, WORK, failing, PAUSE, Failed::again(1)).await;

    consumer.ack_all(&["b"]).await;
    let again = consumer.next_is("a").await;
    // Brokers that count in milliseconds may round a moment down.
    assert!(
        now().as_millis() >= due.as_millis(),
        "it came back before its pause was over: now {:?}, due {due:?}",
        now()
    );
    ack(again).await;
}

pub async fn a_retry_that_is_not_native_is_refused_and_loses_nothing<H: TransportHarness>(
    harness: H,
) {
    let scene = Scene::fresh(&harness).await;
    if scene.can(WORK).delayed_retry.is_native() {
        return;
    }
    scene.send(to_queue(WORK, message("a"))).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    let retry = Settlement::Retry {
        after: Duration::from_millis(1),
        failures: 1,
        notes: vec![note(1)],
        marks: Marks::default(),
    };
    let refused = consumer.next_is("a").await.settle(retry).await;
    let refused = refused.expect_err("expected a retry to be refused");
    assert_kind(&refused, ErrorKind::Unsupported);
    consumer.ack_all(&["a"]).await;
}

/// The engine sends copies to any broker: across versions, and for redrives.
pub async fn a_retry_copy_carries_what_the_bus_recorded<H: TransportHarness>(harness: H) {
    let topology = subscribed(queues([WORK]), WORK, "orders", [Rule::subject("#")]);
    let scene = Scene::with(&harness, topology).await;
    let sent = complete_message();
    let published = to_topic("orders", "orders.placed", sent.clone());
    let mut history = History::new();
    history.push(note(1));
    history.push(note(2));
    let marks = Marks { trials: 1, unhandled_since: None };
    let record = CopyOf::Retry { failures: 2, history: history.clone(), marks };
    let main = QueueRef::Main(queue_name(WORK));
    scene.send(copy(main, &published.envelope, record)).await;

    let delivery = scene.consumer(WORK, 1).await.next().await;
    assert_same(delivery.envelope(), &sent);
    assert_eq!(delivery.failures(), 2);
    assert_eq!(delivery.history(), history.notes());
    assert_eq!(delivery.marks(), marks);
    ack(delivery).await;
}

pub async fn deliveries_are_counted_or_not_claimed_to_be<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    scene.send(to_queue(WORK, message("a"))).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    let can = scene.can(WORK);
    if !can.deliveries.is_kept() {
        let delivery = consumer.next().await;
        assert_eq!(delivery.deliveries(), None, "a count that nobody keeps");
        return ack(delivery).await;
    }
    let delivery = consumer.next().await;
    assert_eq!(delivery.deliveries(), Some(1), "counts this one");
    retry(&scene, WORK, delivery, Duration::ZERO, Failed::again(1)).await;
    let delivery = consumer.next().await;
    assert_eq!(delivery.deliveries(), Some(1), "a failure is an end that the broker heard of");
    ack(delivery).await;
}

/// The mark must hold even if the process dies next: it is what finds the message that kills. It is
/// asked for where the broker has counted three deliveries, or does not count.
pub async fn a_trial_is_marked_at_once_and_for_good<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let other = scene.other(&harness).await;
    scene.send(to_queue(WORK, message("a"))).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    let mut delivery = consumer.next_is("a").await;
    while delivery.deliveries().is_some_and(|deliveries| deliveries < 3) {
        if scene.can(WORK).deliveries == DeliveryCount::Raw {
            settle(delivery, Settlement::Return).await;
            delivery = consumer.next_is("a").await;
        } else {
            // Deliveries that are not heard of again are more than every scenario can make.
            break;
        }
    }
    match delivery.mark_trial().await {
        Ok(()) => {}
        Err(error) => return assert_kind(&error, ErrorKind::Unsupported),
    }
    assert_eq!(delivery.marks().trials, 1, "the delivery itself knows");
    drop(consumer);
    drop(delivery);

    let again = other.consumer(WORK, 1).await.next_is("a").await;
    assert_eq!(again.marks().trials, 1);
    assert_eq!(again.failures(), 0, "a trial is no failure");
    ack(again).await;
}
