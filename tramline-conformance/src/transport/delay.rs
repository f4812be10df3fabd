//! Delayed messages arrive when they are due, or are refused.

use crate::TransportHarness;
use crate::kit::consumer::{ack, id_of};
use crate::kit::message::{assert_same, complete_message, message, to_queue};
use crate::kit::scene::{Scene, WORK, assert_kind};
use crate::kit::time::{due_in, now, until};
use std::time::Duration;
use tramline_core::ErrorKind;
use tramline_core::envelope::Envelope;
use tramline_core::transport::{Delivery, Outgoing};

/// Longer than anything takes that must happen meanwhile, even on a busy machine.
const PAUSE: Duration = Duration::from_secs(1);

pub async fn a_delayed_message_arrives_when_it_is_due_and_not_before<H: TransportHarness>(
    harness: H,
) {
    let scene = Scene::fresh(&harness).await;
    let due = Some(due_in(PAUSE));
    let sent = complete_message();
    let delayed = Outgoing { due, ..to_queue(WORK, sent.clone()) };
    if scene.can(WORK).delay.is_none() {
        let refused = scene.refusal(delayed).await;
        return assert_kind(&refused, ErrorKind::Unsupported);
    }
    scene.send(delayed).await;
    scene.send(to_queue(WORK, message("now"))).await;

    let mut consumer = scene.consumer(WORK, 1).await;
    consumer.ack_all(&["now"]).await;
    let delivery = consumer.next().await;
    assert!(Some(now()) >= due, "it came before its time: now {:?}, due {due:?}", now());
    assert_same(delivery.envelope(), &sent);
    ack(delivery).await;
}

pub async fn delayed_messages_arrive_in_the_order_of_their_times<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    if scene.can(WORK).delay.is_none() {
        return;
    }
    // Sent in another order than they are due, and farther apart than brokers are inexact.
    let start = due_in(PAUSE);
    for (id, pauses) in [("third", 2), ("first", 0), ("second", 1)] {
        let due = Some(start.after(PAUSE / 2 * pauses));
        let delayed = Outgoing { due, ..to_queue(WORK, message(id)) };
        scene.send(delayed).await;
    }
    let mut consumer = scene.consumer(WORK, 3).await;
    consumer.ack_all(&["first", "second", "third"]).await;
}

/// A due time in the past is met at once.
pub async fn a_message_that_is_due_already_arrives_at_once<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    if scene.can(WORK).delay.is_none() {
        return;
    }
    let due = Some(now().before(Duration::from_secs(60)));
    let late = Outgoing { due, ..to_queue(WORK, message("a")) };
    scene.send(late).await;
    scene.consumer(WORK, 1).await.ack_all(&["a"]).await;
}

pub async fn a_delay_over_the_bound_is_refused<H: TransportHarness>(harness: H) {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let scene = Scene::fresh(&harness).await;
    let Some(longest) = scene.can(WORK).delay.and_then(|delay| delay.max) else {
        return;
    };
    let due = Some(now().after(longest.saturating_add(DAY)));
    let refused = scene.refusal(Outgoing { due, ..to_queue(WORK, message("a")) });
    assert_kind(&refused.await, ErrorKind::Unsupported);
}

/// Where the broker looks at expiry, handlers need not; where it does not, they must be able to.
pub async fn an_expired_message_is_kept_from_consumers_or_says_when_it_expired<
    H: TransportHarness,
>(
    harness: H,
) {
    let scene = Scene::fresh(&harness).await;
    const LIVES: Duration = Duration::from_millis(100);
    let expires_at = due_in(LIVES);
    let sent = Envelope { expires_at: Some(expires_at), ..message("stale") };
    scene.send(to_queue(WORK, sent)).await;
    let arrived = now();
    scene.send(to_queue(WORK, message("fresh"))).await;
    // A broker that counts from a message's arrival is as exact as its delays are.
    let inexact = scene.can(WORK).delay.map(|delay| delay.resolution).unwrap_or_default();
    until(arrived.after(LIVES + inexact)).await;

    let mut consumer = scene.consumer(WORK, 1).await;
    if !scene.can(WORK).expiry.is_native() {
        let stale = consumer.next_is("stale").await;
        assert_eq!(stale.envelope().expires_at, Some(expires_at));
        ack(stale).await;
    }
    let next = consumer.next().await;
    assert_eq!(id_of(&next), "fresh", "what has expired is not delivered");
    ack(next).await;
}
