//! How much a receiver takes, and how it ends.

use crate::TransportHarness;
use crate::kit::consumer::{ack, id_of, ids_of, settle};
use crate::kit::message::{message, messages, to_queue};
use crate::kit::scene::{Scene, WORK};
use std::{collections::BTreeSet, time::Duration};
use tramline_core::settlement::Settlement;
use tramline_core::transport::Receiver;

pub async fn no_more_than_the_prefetch_is_ever_taken<H: TransportHarness>(harness: H) {
    const PREFETCH: usize = 3;
    let scene = Scene::fresh(&harness).await;
    let other = scene.other(&harness).await;
    let ids: Vec<String> = (0..10).map(|n| format!("m{n}")).collect();
    scene.send_all(&messages(WORK, ids.iter().map(String::as_str))).await;
    let mut consumer = scene.consumer(WORK, PREFETCH as u32).await;
    let mut taken = consumer.take(PREFETCH).await;
    // All others can be taken elsewhere, so none of them is held here.
    let mut elsewhere = other.consumer(WORK, ids.len() as u32).await;
    taken.extend(elsewhere.take(ids.len() - PREFETCH).await);
    let taken: BTreeSet<String> = taken.iter().map(id_of).collect();
    assert_eq!(taken, ids.into_iter().collect());
}

pub async fn a_freed_slot_is_used_however_it_was_freed<H: TransportHarness>(harness: H) {
    /// That a slot stays taken has no event; a moment is enough for a driver that forgot it.
    const MOMENT: Duration = Duration::from_millis(100);
    let scene = Scene::fresh(&harness).await;
    scene.send_all(&messages(WORK, ["a", "b"])).await;
    let mut consumer = scene.consumer(WORK, 1).await;
    let held = consumer.next_is("a").await;
    let more = consumer.next_within(MOMENT).await;
    assert!(more.is_none(), "the only slot is taken");
    settle(held, Settlement::Return).await;

    let held = consumer.next().await;
    drop(held);
    for _ in 0..2 {
        ack(consumer.next().await).await;
    }
    scene.send(to_queue(WORK, message("end"))).await;
    consumer.ack_all(&["end"]).await;
}

pub async fn a_stopped_receiver_yields_what_it_has_and_ends<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let other = scene.other(&harness).await;
    let ids = ["a", "b", "c", "d", "e"];
    scene.send_all(&messages(WORK, ids)).await;
    let mut consumer = scene.consumer(WORK, 3).await;
    let first = consumer.next_is("a").await;
    let rest = consumer.stop().await;
    assert!(rest.len() < 3, "more than the prefetch: {:?}", ids_of(&rest));
    let end = consumer.next_or_end("the end again").await;
    assert!(end.is_none(), "a receiver that ended stays so");
    for delivery in rest {
        settle(delivery, Settlement::Return).await;
    }
    ack(first).await;

    scene.send(to_queue(WORK, message("f"))).await;
    let late = consumer.next_or_end("the end, once stopped").await;
    assert!(late.is_none(), "a stopped receiver takes nothing more");
    let mut left = ids_of(&other.consumer(WORK, 5).await.take(5).await);
    left.sort();
    assert_eq!(left, ["b", "c", "d", "e", "f"], "nothing is lost by a drain");
}

/// `stop` while nothing is there must not leave `next` waiting for ever.
pub async fn an_idle_receiver_ends_when_it_is_stopped<H: TransportHarness>(harness: H) {
    let scene = Scene::fresh(&harness).await;
    let rest = scene.consumer(WORK, 3).await.stop().await;
    assert!(rest.is_empty(), "nothing was sent");
}

/// The engine waits for several events at once and drops the other futures each time.
pub async fn a_cancelled_next_loses_nothing<H: TransportHarness>(harness: H) {
    const MESSAGES: usize = 200;
    let scene = Scene::fresh(&harness).await;
    let mut consumer = scene.consumer(WORK, 5).await;
    let mut seen = BTreeSet::new();
    let sending = async {
        for number in 0..MESSAGES {
            let id = format!("m{number:03}");
            scene.send(to_queue(WORK, message(&id))).await;
        }
    };
    let receiving = async {
        while seen.len() < MESSAGES {
            if let Some(delivery) = next_or_cancel(consumer.receiver()).await {
                let id = id_of(&delivery);
                ack(delivery).await;
                assert!(seen.insert(id.clone()), "{id} came again after its ack");
            }
        }
    };
    let both = async { tokio::join!(sending, receiving) };
    let ended = tokio::time::timeout(harness.patience() * 3, both).await;
    assert!(ended.is_ok(), "expected {MESSAGES} messages, got {}", seen.len());
}

/// Polls `next` once or twice, and drops it at whatever point it has come to.
async fn next_or_cancel<R: Receiver>(receiver: &mut R) -> Option<R::Delivery> {
    tokio::select! {
        biased;
        next = receiver.next() => match next {
            Ok(Some(delivery)) => Some(delivery),
            Ok(None) => panic!("the receiver ended without `stop`"),
            Err(error) => panic!("expected a delivery, got: {error}"),
        },
        () = tokio::task::yield_now() => None,
    }
}
