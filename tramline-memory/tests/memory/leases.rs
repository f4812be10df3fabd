//! A lease ends by its delivery, or from outside, and then everybody agrees that it has.

use crate::kit::{Polled, Scene, ack, id, message, receiver, take, take_nothing, work};
use tramline_core::ErrorKind;
use tramline_core::clock::{Clock, Deadline};
use tramline_core::dead::Reason;
use tramline_core::name::QueueRef;
use tramline_core::operate::Operate;
use tramline_core::settlement::{Settled, Settlement};
use tramline_core::topology::QueueSpec;
use tramline_core::transport::{Delivery, Transport};
use tramline_memory::Memory;

#[tokio::test]
async fn an_expired_lease_is_told_and_whatever_comes_late_changes_nothing() {
    let scene = Scene::new().await;
    scene.send(["a", "b", "c", "d"].map(message)).await;
    let mut receiver = scene.receiver().await;
    let mut late = Vec::new();
    for _ in 0..4 {
        late.push(take(&mut receiver).await);
    }
    let [mut a, b, c, d] = late.try_into().unwrap();
    let mut lost = Polled::new(a.lost());
    lost.pending("the lease is held");

    assert_eq!(scene.memory.expire_leases(&work()), 4);
    assert!(lost.is_woken());
    lost.ready("the loss");
    drop(lost);
    assert_eq!(a.mark_trial().await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(a.settle(Settlement::Ack).await.unwrap(), Settled::LeaseLost);
    let dead = Settlement::DeadLetter { reason: Reason::Permanent, failures: 1, notes: Vec::new() };
    assert_eq!(b.settle(dead).await.unwrap(), Settled::LeaseLost);
    drop(c);
    d.settled_by_store();
    for expected in ["a", "b", "c", "d"] {
        let delivery = take(&mut receiver).await;
        assert_eq!(id(&delivery), expected);
        assert_eq!((delivery.failures(), delivery.deliveries()), (0, Some(2)));
        assert_eq!(delivery.marks().trials, 0);
        ack(delivery).await;
    }
    take_nothing(&mut receiver).await;
}

#[tokio::test]
async fn leases_of_dead_letters_expire_with_those_of_their_queue() {
    let scene = Scene::new().await;
    scene.kill("a", Reason::Permanent).await;
    let mut undertaker = scene.dead_receiver().await;
    let held = take(&mut undertaker).await;
    assert_eq!(scene.memory.expire_leases(&work()), 1);
    Polled::new(held.lost()).ready("the loss");
    assert_eq!(id(&take(&mut undertaker).await), "a");
}

#[tokio::test]
async fn closing_a_handle_gives_back_what_was_taken_through_it_and_nothing_else() {
    let scene = Scene::new().await;
    scene.send(["a", "b"].map(message)).await;
    let other = scene.memory.clone();
    let mut elsewhere = receiver(&other, QueueRef::Main(work())).await;
    let (ours, theirs) = (take(&mut scene.receiver().await).await, take(&mut elsewhere).await);
    scene.memory.close(Deadline(scene.clock.now())).await.unwrap();

    Polled::new(ours.lost()).ready("the loss");
    Polled::new(theirs.lost()).pending("the other handle is open");
    ack(theirs).await;
    assert_eq!(id(&take(&mut elsewhere).await), "a");
}

#[tokio::test]
async fn a_delivery_outlives_its_receiver() {
    let scene = Scene::new().await;
    scene.send([message("a")]).await;
    let mut receiver = scene.receiver().await;
    let held = take(&mut receiver).await;
    drop(receiver);
    take_nothing(&mut scene.receiver().await).await;
    ack(held).await;
    assert_eq!(scene.memory.depth(&work()).await.unwrap().ready.known(), Some(0));
}

#[tokio::test]
async fn a_message_that_has_used_up_its_deliveries_is_a_dead_letter() {
    let spec = QueueSpec { delivery_limit: Some(2), ..QueueSpec::new(work()) };
    let scene = Scene::with(Memory::options(), spec).await;
    scene.send(["killer", "next"].map(message)).await;
    let mut receiver = scene.receiver().await;
    drop(take(&mut receiver).await);
    drop(take(&mut receiver).await);
    assert_eq!(id(&take(&mut receiver).await), "next");
    let dead = scene.memory.peek(&QueueRef::Dead(work()), None, 10).await.unwrap();
    let death = dead[0].death.as_ref().unwrap();
    assert_eq!((death.reason.as_str(), death.failures), ("delivery limit", 0));
    for _ in 0..3 {
        let evidence = take(&mut scene.dead_receiver().await).await;
        assert_eq!(id(&evidence), "killer", "evidence may be looked at without a limit");
    }
}
