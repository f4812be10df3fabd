//! What was not handled is kept, with the reason why.

use crate::TransportHarness;
use crate::kit::consumer::{ack, ids_of, settle};
use crate::kit::engine::{Failed, dead_letter, note, retry};
use crate::kit::message::{assert_same, complete_message, message, messages, queue_name, to_queue};
use crate::kit::operator::{dead_at_last, offered, peek_dead, peeked_ids};
use crate::kit::scene::{Scene, WORK, assert_kind};
use crate::kit::time::{due_in, now, until};
use std::time::Duration;
use tramline_core::ErrorKind;
use tramline_core::dead::{FailureNote, Reason};
use tramline_core::envelope::Envelope;
use tramline_core::settlement::Settlement;
use tramline_core::transport::{Delivery, Transport};

/// Longer than it takes to make a dead letter, even on a busy machine.
pub(super) const TIME_TO_DIE: Duration = Duration::from_secs(2);

pub async fn a_dead_letter_is_read_from_the_dead_letters_as_it_was<H: TransportHarness>(
    harness: H,
) {
    let scene = Scene::fresh(&harness).await;
    let sent = complete_message();
    scene.send(to_queue(WORK, sent.clone())).await;
    let notes = kill_at_the_fourth_failure(&scene).await;

    let dead = scene.undertaker(WORK).await.next().await;
    assert_same(dead.envelope(), &sent);
    assert_eq!(dead.failures(), 4);
    assert_eq!(dead.history(), notes);
    ack(dead).await;
}

pub async fn a_dead_letter_says_why_and_when_it_died<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let sent = complete_message();
    scene.send(to_queue(WORK, sent.clone())).await;
    let began = now();
    let notes = kill_at_the_fourth_failure(&scene).await;
    let Some(peeked) = peek_dead(&scene, WORK).await else {
        return;
    };
    let [dead] = peeked.as_slice() else {
        panic!("expected one dead letter, got: {peeked:?}");
    };
    assert_same(&dead.envelope, &sent);
    assert_eq!(dead.failures, 4);
    let death = dead.death.as_ref().expect("a dead letter has a record");
    assert_eq!(death.reason, Reason::Exhausted);
    assert_eq!(death.failures, 4);
    assert_eq!(death.history.notes(), notes);
    assert_eq!(death.first_failed_at, Some(notes[0].at));
    let died = death.failed_at.as_millis();
    assert!((began.as_millis()..=now().as_millis()).contains(&died), "died at {died} ms");
}

pub async fn a_dead_letter_does_not_come_back_to_its_queue<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let other = scene.other(&harness).await;
    scene.send_all(&messages(WORK, ["a", "b"])).await;
    let delivery = scene.consumer(WORK, 1).await.next_is("a").await;
    dead_letter(&scene, WORK, delivery, Reason::Permanent, Failed::again(1)).await;
    other.consumer(WORK, 1).await.ack_all(&["b"]).await;
}

pub async fn a_dead_letter_that_is_not_native_is_refused_and_loses_nothing<H: TransportHarness>(
    harness: H,
) {
    let scene = Scene::fresh(&harness).await;
    if scene.can(WORK).dead_letter.is_native() {
        return;
    }
    scene.send(to_queue(WORK, message("a"))).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    let dead =
        Settlement::DeadLetter { reason: Reason::Permanent, failures: 1, notes: vec![note(1)] };
    let refused = consumer.next_is("a").await.settle(dead).await;
    let refused = refused.expect_err("expected a dead letter to be refused");
    assert_kind(&refused, ErrorKind::Unsupported);
    consumer.ack_all(&["a"]).await;
}

pub async fn a_returned_dead_letter_stays_one_and_an_acked_one_is_gone<H: TransportHarness>(
    harness: H,
) {
    let scene = Scene::fresh(&harness).await;
    kill(&scene, &["a", "b"]).await;
    let mut undertaker = scene.undertaker(WORK).await;
    let [first, second] = undertaker.take(2).await.try_into().unwrap_or_else(|_| {
        panic!("two were taken");
    });
    settle(first, Settlement::Return).await;
    ack(second).await;
    let rest = undertaker.next_is("a").await;
    assert_eq!(rest.failures(), 1, "what was recorded stays");
    ack(rest).await;

    scene.send(to_queue(WORK, message("end"))).await;
    scene.consumer(WORK, 1).await.ack_all(&["end"]).await;
}

pub async fn a_native_dead_letter_is_refused_a_pause_and_stays_what_it_is<H: TransportHarness>(
    harness: H,
) {
    let scene = Scene::fresh(&harness).await;
    let can = scene.can(WORK);
    if !can.dead_letter.is_native() || !can.delayed_retry.is_native() {
        return;
    }
    kill(&scene, &["a"]).await;
    let dead = scene.undertaker(WORK).await.next_is("a").await;
    let Failed { failures, notes, marks } = Failed::again(2);
    let after = Duration::from_secs(1);
    let refused = dead.settle(Settlement::Retry { after, failures, notes, marks }).await;
    assert_kind(&refused.expect_err("expected a pause to be refused"), ErrorKind::Unsupported);
    let dead = scene.undertaker(WORK).await.next_is("a").await;
    assert_eq!(dead.failures(), 1, "nothing is charged");
    ack(dead).await;
}

/// Expiry is about handling; a dead letter is evidence.
pub async fn a_dead_letter_does_not_expire<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let expires_at = due_in(TIME_TO_DIE);
    let envelope = Envelope { expires_at: Some(expires_at), ..message("a") };
    scene.send(to_queue(WORK, envelope)).await;
    let delivery = scene.consumer(WORK, 1).await.next_is("a").await;
    dead_letter(&scene, WORK, delivery, Reason::Permanent, Failed::again(1)).await;
    until(expires_at).await;
    scene.undertaker(WORK).await.ack_all(&["a"]).await;
}

/// Where the broker looks at expiry, it keeps what has expired for its operators.
pub async fn a_message_that_expired_at_the_broker_is_a_dead_letter<H: TransportHarness>(
    harness: H,
) {
    const LIVES: Duration = Duration::from_millis(50);
    let scene = Scene::fresh(&harness).await;
    if !scene.can(WORK).expiry.is_native() {
        return;
    }
    let envelope = Envelope { expires_at: Some(due_in(LIVES)), ..message("stale") };
    scene.send(to_queue(WORK, envelope)).await;
    let arrived = now();
    scene.send(to_queue(WORK, message("fresh"))).await;
    let inexact = scene.can(WORK).delay.map(|delay| delay.resolution).unwrap_or_default();
    until(arrived.after(LIVES + inexact)).await;
    scene.consumer(WORK, 1).await.ack_all(&["fresh"]).await;
    let Some(dead) = dead_at_last(&scene, WORK, 1).await else {
        return;
    };
    assert_eq!(peeked_ids(&dead), ["stale"]);
    for dead in dead {
        let death = dead.death.expect("a dead letter has a record");
        assert_eq!(death.reason, Reason::Expired);
        assert_eq!(death.failures, 0, "an expiry charges nothing");
    }
}

pub async fn dead_letters_are_counted_by_name_and_reason<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    kill_for(&scene, &["a", "b"], Reason::Permanent).await;
    kill_for(&scene, &["c"], Reason::Other("maxlen".to_owned())).await;
    let Some(operator) = scene.transport.operate() else {
        return;
    };
    let Some(groups) = offered(operator.groups(&queue_name(WORK)).await) else {
        return;
    };
    let mut counted: Vec<(&str, &str, u64)> = groups
        .iter()
        .map(|group| (group.name.as_str(), group.reason.as_str(), group.count))
        .collect();
    counted.sort_unstable();
    let name = "conformance.noted";
    assert_eq!(counted, [(name, "maxlen", 1), (name, "permanent", 2)]);
    for group in &groups {
        let (first, last) = group.failed;
        assert!(first <= last && last <= now(), "times of {group:?}");
    }
}

pub async fn dead_letters_are_looked_at_without_being_taken<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    kill(&scene, &["a", "b"]).await;
    for _ in 0..2 {
        let Some(peeked) = peek_dead(&scene, WORK).await else {
            return;
        };
        assert_eq!(peeked_ids(&peeked), ["a", "b"]);
    }
    let taken = scene.undertaker(WORK).await.take(2).await;
    assert_eq!(ids_of(&taken), ["a", "b"]);
}

/// Lets the message in the queue fail twice in each of two deliveries, and answers all notes.
async fn kill_at_the_fourth_failure<T: Transport>(scene: &Scene<T>) -> Vec<FailureNote> {
    let mut consumer = scene.consumer(WORK, 1).await;
    let [first, second] = [Failed::twice(2), Failed::twice(4)];
    let notes = [&first, &second].into_iter().flat_map(|failed| failed.notes.clone());
    let notes = notes.collect();
    retry(scene, WORK, consumer.next().await, Duration::ZERO, first).await;
    dead_letter(scene, WORK, consumer.next().await, Reason::Exhausted, second).await;
    notes
}

/// Sends messages and makes dead letters of them, each after one failure.
pub(super) async fn kill<T: Transport>(scene: &Scene<T>, ids: &[&str]) {
    kill_for(scene, ids, Reason::Permanent).await;
}

/// The same, for a reason.
pub(super) async fn kill_for<T: Transport>(scene: &Scene<T>, ids: &[&str], reason: Reason) {
    let mut consumer = scene.consumer(WORK, 1).await;
    for id in ids {
        scene.send(to_queue(WORK, message(id))).await;
        let delivery = consumer.next_is(id).await;
        dead_letter(scene, WORK, delivery, reason.clone(), Failed::again(1)).await;
    }
}
