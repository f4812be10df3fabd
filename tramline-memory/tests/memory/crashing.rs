//! A process that dies lets go of everything, and what it did before stays.

use crate::kit::{
    Noted, Polled, SECOND, Scene, ack, id, message, receiver, take, take_nothing, work,
};
use tramline_core::Failure;
use tramline_core::clock::Clock;
use tramline_core::compose::Publishing;
use tramline_core::dead::Reason;
use tramline_core::name::QueueRef;
use tramline_core::settlement::{Settled, Settlement};
use tramline_core::store::{CommitError, Committed, Condition, Outbox, Refusal, Store};
use tramline_core::transport::{Delivery, Receiver};
use tramline_memory::store::Db;

#[tokio::test]
async fn what_a_dead_process_held_stands_in_its_place_with_its_delivery_counted() {
    let scene = Scene::new().await;
    scene.send(["acked", "a", "b", "c"].map(message)).await;
    let (survivor, mut dying) = (scene.memory.clone(), scene.receiver().await);
    ack(take(&mut dying).await).await;
    let (a, b) = (take(&mut dying).await, take(&mut dying).await);
    let mut elsewhere = receiver(&survivor, QueueRef::Main(work())).await;
    let theirs = take(&mut elsewhere).await;
    let mut idle = Polled::new(elsewhere.next());
    idle.pending("everything is taken");
    scene.memory.crash();
    assert!(idle.is_woken(), "for what is free now");
    drop(idle);

    Polled::new(a.lost()).ready("the loss");
    Polled::new(theirs.lost()).pending("the other process lives");
    assert_eq!(a.settle(Settlement::Ack).await.unwrap(), Settled::LeaseLost);
    drop(b);
    for expected in ["a", "b"] {
        let again = take(&mut elsewhere).await;
        assert_eq!(
            (id(&again).as_str(), again.deliveries(), again.failures()),
            (expected, Some(2), 0)
        );
        ack(again).await;
    }
    take_nothing(&mut elsewhere).await;
    ack(theirs).await;
}

#[tokio::test]
async fn dead_letters_are_let_go_as_well() {
    let scene = Scene::new().await;
    scene.kill("a", Reason::Permanent).await;
    let held = take(&mut scene.dead_receiver().await).await;
    scene.memory.crash();
    Polled::new(held.lost()).ready("the loss");
    let mut elsewhere = receiver(&scene.memory.clone(), QueueRef::Dead(work())).await;
    assert_eq!(id(&take(&mut elsewhere).await), "a");
}

#[tokio::test]
async fn a_transaction_of_a_dead_process_is_refused_and_a_committed_one_stays() {
    let scene = Scene::new().await;
    scene.send([message("a")]).await;
    scene.memory.write(put("before")).await.unwrap();
    let held = take(&mut scene.receiver().await).await;
    scene.memory.crash();
    let tx = scene.memory.begin(scene.scope(Publishing::Outbox)).await.unwrap();
    tx.write(put("after")).unwrap();
    let ack = vec![Condition::Ack(held.ticket().unwrap())];
    let committed: Result<_, CommitError> = scene.memory.commit(tx, ack, Vec::new()).await;
    assert_eq!(committed.unwrap(), Committed::Refused(vec![(0, Refusal::LeaseLost)]));
    assert_eq!(scene.memory.read(|db| db.keys::<i32>()).await, ["before"]);
}

#[tokio::test]
async fn rows_that_a_dead_relay_held_are_another_s_at_once_and_nothing_is_charged() {
    let scene = Scene::new().await;
    let writer = scene.memory.writer(scene.scope(Publishing::Outbox));
    writer
        .write(|db: &mut Db<'_>| (1..=3).try_for_each(|n| db.publish(&Noted { n })))
        .await
        .unwrap();
    let survivor = scene.memory.clone();
    let now = scene.clock.now();
    let claimed = Outbox::claim(&scene.memory, 2, SECOND, now).await.unwrap();
    let theirs = Outbox::claim(&survivor, 1, SECOND, now).await.unwrap();
    assert_eq!((claimed.len(), theirs.len()), (2, 1));
    survivor.appended().await;
    let mut relay = Polled::new(survivor.appended());
    relay.pending("nothing more was appended");
    scene.memory.crash();
    assert!(relay.is_woken(), "it need not wait until the leases end");
    drop(relay);

    let late: Vec<_> = claimed.iter().map(|row| row.token).collect();
    scene.memory.sent(&late).await.unwrap();
    let again = Outbox::claim(&survivor, 9, SECOND, now).await.unwrap();
    let rows: Vec<_> = again.iter().map(|row| (row.token.row, row.attempts)).collect();
    let first: Vec<_> = claimed.iter().map(|row| (row.token.row, 0)).collect();
    assert_eq!(rows, first, "those of the dead one, and not those of the living");
}

fn put(key: &'static str) -> impl Fn(&mut Db<'_>) -> Result<(), Failure> {
    move |db| {
        db.put(key, 1);
        Ok(())
    }
}

#[tokio::test]
async fn whoever_waits_in_other_processes_looks_again_when_one_dies() {
    let scene = Scene::new().await;
    let mut receiver = scene.receiver().await;
    let mut next = Polled::new(receiver.next());
    next.pending("an empty queue");
    let mut appended = Polled::new(scene.memory.outbox().appended());
    appended.pending("an empty outbox");
    scene.memory.clone().crash();
    assert!(next.is_woken() && appended.is_woken());
    next.pending("it is empty all the same");
}
