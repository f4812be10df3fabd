//! What operators choose is what is moved.

use crate::kit::{Scene, id, message, take, work};
use tramline_core::ErrorKind;
use tramline_core::dead::{FailureNote, Reason};
use tramline_core::filter::Filter;
use tramline_core::operate::{Operate, Redrive, Selection};
use tramline_core::settlement::Settlement;
use tramline_core::transport::Delivery;

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
async fn a_redrive_with_a_rate_is_refused() {
    let scene = Scene::new().await;
    let what = Redrive { rate: Some(10), ..Redrive::all() };
    let error = scene.memory.redrive(&work(), what).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
