//! What was handled, and what died, is kept for as long as that was asked for.

use super::dead_letters::kill;
use crate::TransportHarness;
use crate::kit::consumer::{ack, settle};
use crate::kit::declared::declared_or_refused;
use crate::kit::engine::{Failed, retry};
use crate::kit::message::{assert_same, message, messages, queue_name, to_queue};
use crate::kit::operator::{offered, peek_dead, peeked_ids};
use crate::kit::scene::{Scene, WORK};
use crate::kit::time::{now, until};
use crate::kit::topology::plain;
use std::time::Duration;
use tramline_core::operate::Completed;
use tramline_core::settlement::Settlement;
use tramline_core::topology::QueueSpec;
use tramline_core::transport::Transport;

const HOUR: Duration = Duration::from_secs(3600);

pub async fn what_was_handled_is_gone_where_nobody_asked_to_keep_it<H: TransportHarness>(
    harness: H,
) {
    let scene = Scene::fresh(&harness).await;
    scene.send(to_queue(WORK, message("a"))).await;
    scene.consumer(WORK, 1).await.ack_all(&["a"]).await;
    let Some(operator) = scene.transport.operate() else {
        return;
    };
    if let Some(completed) = offered(operator.completed(&queue_name(WORK), None, 10).await) {
        assert_eq!(completed, []);
    }
}

pub async fn what_was_handled_is_kept_to_be_looked_at_or_no_wish_is_accepted<
    H: TransportHarness,
>(
    harness: H,
) {
    let spec = QueueSpec { keep_completed: Some(HOUR), ..plain(WORK) };
    let Some(scene) =
        declared_or_refused(&harness, spec, |can| can.keep_completed.is_native()).await
    else {
        return;
    };
    let can = scene.can(WORK);
    if !can.delayed_retry.is_native() || !can.dead_letter.is_native() {
        // The originals of copies were acked, so they are kept as handled.
        return;
    }
    let began = now();
    kill(&scene, &["dead"]).await;
    scene.send_all(&messages(WORK, ["a", "b", "c"])).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    retry(&scene, WORK, consumer.next_is("a").await, HOUR / 3600, Failed::again(1)).await;
    consumer.ack_all(&["b", "c", "a"]).await;
    // What was not handled is not kept.
    scene.send(to_queue(WORK, message("returned"))).await;
    settle(consumer.next_is("returned").await, Settlement::Return).await;

    let completed = completed(&scene, None, 10).await;
    assert_eq!(ids(&completed), ["b", "c", "a"], "in the order in which they were handled");
    assert_same(&completed[0].envelope, &message("b"));
    assert_eq!((completed[1].failures, completed[2].failures), (0, 1));
    for one in &completed {
        let at = one.at.as_millis();
        assert!((began.as_millis()..=now().as_millis()).contains(&at), "handled at {at} ms");
    }
    let first = self::completed(&scene, None, 2).await;
    assert_eq!(ids(&first), ["b", "c"], "as many as the limit");
    let rest = self::completed(&scene, Some(first[1].position), 10).await;
    assert_eq!(ids(&rest), ["a"], "behind the position");
}

pub async fn what_was_handled_is_forgotten_after_its_time<H: TransportHarness>(harness: H) {
    const TIME: Duration = Duration::from_secs(1);
    let spec = QueueSpec { keep_completed: Some(TIME), ..plain(WORK) };
    let Some(scene) =
        declared_or_refused(&harness, spec, |can| can.keep_completed.is_native()).await
    else {
        return;
    };
    scene.send_all(&messages(WORK, ["old", "new"])).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    consumer.ack_all(&["old"]).await;
    until(now().after(TIME + Duration::from_millis(1))).await;
    assert_eq!(completed(&scene, None, 10).await, [], "its time is over, whatever happens then");
    let last = consumer.next_is("new").await;
    ack(last).await;
    let handled = now();
    loop {
        let kept = completed(&scene, None, 10).await;
        match ids(&kept).as_slice() {
            [only] if only == "new" => return,
            // A busy machine may have taken longer than the new one is kept.
            [] if now() >= handled.after(TIME / 2) => return,
            _ => assert!(now() < handled.after(scene.patience), "still kept: {kept:?}"),
        }
        tokio::task::yield_now().await;
    }
}

pub async fn dead_letters_are_forgotten_after_their_time_or_no_wish_is_accepted<
    H: TransportHarness,
>(
    harness: H,
) {
    const TIME: Duration = Duration::from_secs(1);
    let spec = QueueSpec { keep_dead: Some(TIME), ..plain(WORK) };
    let Some(scene) = declared_or_refused(&harness, spec, |can| can.keep_dead.is_native()).await
    else {
        return;
    };
    let began = now();
    kill(&scene, &["a", "b"]).await;
    let Some(dead) = peek_dead(&scene, WORK).await else {
        return;
    };
    if now() < began.after(TIME) {
        assert_eq!(peeked_ids(&dead), ["a", "b"], "their time is not over");
    }
    let killed = now();
    loop {
        let dead = peek_dead(&scene, WORK).await.unwrap_or_default();
        if dead.is_empty() {
            break;
        }
        assert!(now() < killed.after(scene.patience), "still there: {:?}", peeked_ids(&dead));
        tokio::task::yield_now().await;
    }
    assert!(now() >= began.after(TIME), "they were forgotten before their time");
    // The queue itself forgets nothing.
    scene.send(to_queue(WORK, message("alive"))).await;
    scene.consumer(WORK, 1).await.ack_all(&["alive"]).await;
}

async fn completed<T: Transport>(
    scene: &Scene<T>,
    after: Option<i64>,
    limit: u32,
) -> Vec<Completed> {
    let operator = scene.transport.operate().expect("who keeps what was handled shows it");
    let completed = operator.completed(&queue_name(WORK), after, limit).await;
    completed.unwrap_or_else(|error| panic!("expected what was handled, got: {error}"))
}

fn ids(completed: &[Completed]) -> Vec<String> {
    let ids = completed.iter().filter_map(|one| one.envelope.id.as_ref());
    ids.map(ToString::to_string).collect()
}
