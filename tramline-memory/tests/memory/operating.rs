//! What operators choose is what is moved.

use crate::kit::{Polled, SECOND, Scene, ack, id, message, take, take_nothing, work};
use std::time::Duration;
use tramline_core::ErrorKind;
use tramline_core::dead::{FailureNote, Reason};
use tramline_core::filter::Filter;
use tramline_core::operate::{Operate, Redrive, Selection};
use tramline_core::settlement::Settlement;
use tramline_core::transport::Delivery;
use tramline_memory::MemoryReceiver;

#[tokio::test]
async fn dead_letters_are_chosen_by_reason_and_by_error() {
    let scene = Scene::new().await;
    scene.kill("poisoned", Reason::Poison).await;
    scene.send([message("timed out")]).await;
    let at = Default::default();
    let notes = vec![FailureNote { at, failure: 1, error: "gateway timed out".to_owned() }];
    let how = Settlement::DeadLetter { reason: Reason::Exhausted, failures: 1, notes };
    take(&mut scene.receiver().await).await.settle(how).await.unwrap();

    let mut receiver = scene.receiver().await;
    for (filter, expected) in
        [("error LIKE '%timed out'", "timed out"), ("reason = 'poison'", "poisoned")]
    {
        let what =
            Redrive { selection: Selection::Matching(Filter::sql(filter)), ..Redrive::all() };
        assert_eq!(scene.memory.redrive(&work(), what).await.unwrap(), 1, "{filter}");
        let delivery = take(&mut receiver).await;
        assert_eq!(id(&delivery), expected);
        delivery.settle(Settlement::Ack).await.unwrap();
    }
}

#[tokio::test]
async fn a_dead_letter_that_somebody_holds_is_not_redriven() {
    let scene = Scene::new().await;
    scene.kill("held", Reason::Permanent).await;
    scene.kill("free", Reason::Permanent).await;
    let held = take(&mut scene.dead_receiver().await).await;
    assert_eq!(scene.memory.redrive(&work(), Redrive::all()).await.unwrap(), 1);
    assert_eq!(id(&take(&mut scene.receiver().await).await), "free");
    assert_eq!(id(&held), "held");
}

#[tokio::test]
async fn a_redrive_with_a_rate_goes_on_by_the_clock_and_takes_what_was_dead_at_its_start() {
    let scene = Scene::new().await;
    for id in ["a", "b", "taken", "c"] {
        scene.kill(id, Reason::Permanent).await;
    }
    let what = Redrive { rate: Some(2), ..Redrive::all() };
    let queue = work();
    let mut redrive = Polled::new(scene.memory.redrive(&queue, what));
    redrive.pending("one every half second");
    let mut receiver = scene.receiver().await;
    take_and_ack(&mut receiver, "a").await;
    let mut undertaker = scene.dead_receiver().await;
    let b = take(&mut undertaker).await;
    let taken = take(&mut undertaker).await;
    drop(b);
    scene.kill("later", Reason::Permanent).await;

    scene.clock.advance(SECOND / 2 - Duration::from_micros(1));
    assert!(!redrive.is_woken());
    take_nothing(&mut receiver).await;
    for (woken, expected) in [(true, Some("b")), (true, None)] {
        scene.clock.advance(SECOND / 2);
        assert_eq!(redrive.is_woken(), woken);
        redrive.pending("there is more");
        match expected {
            Some(expected) => take_and_ack(&mut receiver, expected).await,
            None => take_nothing(&mut receiver).await,
        }
    }
    scene.clock.advance(SECOND / 2);
    assert_eq!(redrive.ready("the last step").unwrap(), 3);
    take_and_ack(&mut receiver, "c").await;
    drop(taken);
    assert_eq!(scene.memory.depth(&work()).await.unwrap().dead.known(), Some(2));
}

#[tokio::test]
async fn a_redrive_of_none_a_second_is_a_mistake() {
    let scene = Scene::new().await;
    let what = Redrive { rate: Some(0), ..Redrive::all() };
    let error = scene.memory.redrive(&work(), what).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
}

async fn take_and_ack(receiver: &mut MemoryReceiver, expected: &str) {
    let delivery = take(receiver).await;
    assert_eq!(id(&delivery), expected);
    ack(delivery).await;
}
