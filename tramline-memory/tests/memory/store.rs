//! A transaction is all or nothing, whatever happens in it.

use crate::kit::{Noted, Scene, id, message, take, take_nothing};
use tramline_core::ErrorKind;
use tramline_core::compose::Publishing;
use tramline_core::store::{CommitError, Committed, Condition, Refusal, Store};
use tramline_core::transport::Delivery;
use tramline_memory::Memory;

#[derive(Clone, Debug, PartialEq)]
struct Balance(i64);

#[derive(Clone, Debug, PartialEq)]
struct Owner(&'static str);

#[tokio::test]
async fn values_are_kept_apart_by_type() {
    let memory = Memory::new();
    let write = memory.write(|db| {
        db.put("1", Balance(7));
        db.put("1", Owner("alice"));
        Ok(db.remove::<Balance>("1"))
    });
    assert_eq!(write.await.unwrap(), Some(Balance(7)));
    let read = memory.read(|db| (db.get::<Balance>("1"), db.get::<Owner>("1")));
    assert_eq!(read.await, (None, Some(Owner("alice"))));
}

#[tokio::test]
async fn a_transaction_sees_its_own_changes_upon_what_is_stored() {
    let memory = Memory::new();
    let stored = memory.write(|db| {
        ["a", "b", "c"].into_iter().for_each(|key| db.put(key, Balance(1)));
        Ok(())
    });
    stored.await.unwrap();
    let seen = memory.write(|db| {
        db.put("b", Balance(2));
        db.put("d", Balance(4));
        db.remove::<Balance>("a");
        Ok((db.keys::<Balance>(), db.entries::<Balance>()))
    });
    let (keys, entries) = seen.await.unwrap();
    assert_eq!(keys, ["b", "c", "d"]);
    assert_eq!(entries.iter().map(|(_, Balance(n))| *n).collect::<Vec<_>>(), [2, 1, 4]);
    assert_eq!(memory.read(|db| db.entries::<Balance>()).await, entries);
}

#[tokio::test]
async fn a_panic_in_a_write_is_a_failure_that_keeps_nothing() {
    let scene = Scene::new().await;
    let writer = scene.memory.writer(scene.scope(Publishing::Queues));
    let write = writer.write(|db| -> Result<(), _> {
        db.put("1", Balance(7));
        db.send("work", &Noted { n: 1 })?;
        panic!("out of luck: {}", 13)
    });
    match write.await.unwrap_err() {
        CommitError::Handler(failure) => {
            assert!(!failure.is_permanent());
            assert_eq!(failure.to_string(), "a write panicked: out of luck: 13");
        }
        other => panic!("expected a failure, got {other:?}"),
    }
    assert_eq!(scene.memory.read(|db| db.get::<Balance>("1")).await, None);
    take_nothing(&mut scene.receiver().await).await;
}

#[tokio::test]
async fn a_message_to_a_queue_that_is_not_there_takes_its_transaction_back() {
    let scene = Scene::new().await;
    let writer = scene.memory.writer(scene.scope(Publishing::Queues));
    let write = writer.write(|db| {
        db.put("1", Balance(7));
        db.send("work", &Noted { n: 1 })?;
        db.send("nowhere", &Noted { n: 2 })
    });
    let error = write.await.unwrap_err();
    assert!(matches!(error, CommitError::Handler(_)) && error.to_string().contains("nowhere"));
    assert_eq!(scene.memory.read(|db| db.get::<Balance>("1")).await, None);
    take_nothing(&mut scene.receiver().await).await;
}

#[tokio::test]
async fn a_write_without_a_bus_cannot_publish_and_says_how_to() {
    let write = Memory::new().write(|db| db.publish(&Noted { n: 1 })).await;
    let text = write.unwrap_err().to_string();
    assert!(text.contains("notes.noted") && text.contains("bus.store(&memory)"), "{text}");
}

#[tokio::test]
async fn only_what_a_transaction_published_is_born_here() {
    let scene = Scene::new().await;
    scene.send([message("sent")]).await;
    let writer = scene.memory.writer(scene.scope(Publishing::Queues));
    writer.write(|db| db.send("work", &Noted { n: 1 })).await.unwrap();
    let mut receiver = scene.receiver().await;
    let [sent, published] = [take(&mut receiver).await, take(&mut receiver).await];
    assert!(!sent.ticket().unwrap().born_here);
    assert!(published.ticket().unwrap().born_here);
}

#[tokio::test]
async fn one_ack_is_good_for_one_condition() {
    let scene = Scene::new().await;
    scene.send([message("a")]).await;
    let mut receiver = scene.receiver().await;
    let delivery = take(&mut receiver).await;
    let ack = Condition::Ack(delivery.ticket().unwrap());
    let commit = async |conditions| {
        let tx = scene.memory.begin(scene.scope(Publishing::Queues)).await.unwrap();
        scene.memory.commit(tx, conditions, Vec::new()).await.unwrap()
    };
    let twice = commit(vec![ack.clone(), ack.clone()]).await;
    assert_eq!(twice, Committed::Refused(vec![(1, Refusal::LeaseLost)]));
    assert_eq!(commit(vec![ack.clone()]).await, Committed::Done);
    delivery.settled_by_store();
    let again = commit(vec![ack]).await;
    assert_eq!(again, Committed::Refused(vec![(0, Refusal::LeaseLost)]));
    take_nothing(&mut receiver).await;
}

#[tokio::test]
async fn a_ticket_of_another_memory_is_a_wiring_fault() {
    let (scene, other) = (Scene::new().await, Scene::new().await);
    scene.send([message("a")]).await;
    let mut receiver = scene.receiver().await;
    let delivery = take(&mut receiver).await;
    let conditions = vec![Condition::Ack(delivery.ticket().unwrap())];
    let tx = other.memory.begin(other.scope(Publishing::Queues)).await.unwrap();
    match other.memory.commit(tx, conditions, Vec::new()).await.unwrap_err() {
        CommitError::Store(error) => assert_eq!(error.kind(), ErrorKind::Misconfigured),
        other => panic!("expected an error of the store, got {other:?}"),
    }
    drop(delivery);
    assert_eq!(id(&take(&mut receiver).await), "a");
}

#[tokio::test]
async fn names_of_queues_are_checked_where_they_are_written() {
    let scene = Scene::new().await;
    let writer = scene.memory.writer(scene.scope(Publishing::Queues));
    let error = writer.write(|db| db.send("No Queue", &Noted { n: 1 })).await.unwrap_err();
    match error {
        CommitError::Handler(failure) => assert!(failure.is_permanent(), "{failure}"),
        other => panic!("expected a failure, got {other:?}"),
    }
}
