//! The outbox keeps order per key, and says when to look again.

use crate::kit::{Noted, Polled, SECOND, Scene};
use tramline_core::clock::Clock;
use tramline_core::compose::Publishing;
use tramline_core::draft::Draft;
use tramline_core::store::Store;

#[tokio::test]
async fn rows_behind_a_postponed_one_of_their_key_are_not_due_before_it() {
    let scene = Scene::new().await;
    append(&scene, &[(1, "k"), (2, "k")]).await;
    let now = scene.clock.now();
    let outbox = scene.memory.outbox();
    let first = outbox.claim(1, SECOND, now).await.unwrap().remove(0);
    assert_eq!(outbox.next_due().await.unwrap(), Some(now.after(SECOND)), "when its lease ends");
    outbox.postpone(first.token, now.after(SECOND * 9), "away").await.unwrap();
    // An answer of "now" would let a relay spin: there is nothing that it could claim.
    assert_eq!(outbox.next_due().await.unwrap(), Some(now.after(SECOND * 9)));
    assert_eq!(outbox.claim(9, SECOND, now).await.unwrap(), []);
}

#[tokio::test]
async fn what_is_released_or_discarded_wakes_a_relay_for_what_stood_behind_it() {
    let scene = Scene::new().await;
    append(&scene, &[(1, "k"), (2, "k"), (3, "k")]).await;
    let now = scene.clock.now();
    let outbox = scene.memory.outbox();
    outbox.appended().await;
    for discards in [false, true] {
        let first = outbox.claim(1, SECOND, now).await.unwrap().remove(0);
        outbox.park(first.token, "refused").await.unwrap();
        let mut relay = Polled::new(outbox.appended());
        relay.pending("what it could claim stands behind a parked row");
        match discards {
            false => assert_eq!(outbox.release().await.unwrap(), 1),
            true => assert_eq!(outbox.discard(&[first.token.row]).await.unwrap(), 1),
        }
        assert!(relay.is_woken());
        relay.ready("to look again");
    }
}

#[tokio::test]
async fn a_claim_that_is_never_polled_claims_nothing() {
    let scene = Scene::new().await;
    append(&scene, &[(1, "k")]).await;
    let now = scene.clock.now();
    drop(scene.memory.outbox().claim(9, SECOND, now));
    assert_eq!(scene.memory.outbox().claim(9, SECOND, now).await.unwrap().len(), 1);
}

async fn append(scene: &Scene, notes: &'static [(u32, &'static str)]) {
    let writer = scene.memory.writer(scene.scope(Publishing::Outbox));
    let publish = |db: &mut tramline_memory::store::Db<'_>| {
        notes.iter().try_for_each(|(n, key)| db.publish(Draft::of(&Noted { n: *n }).key(*key)))
    };
    writer.write(publish).await.unwrap();
}
