//! A watcher is told of what is in, and of nothing else.

use crate::kit::{Noted, Scene, message, work};
use std::sync::{Arc, Mutex};
use tramline_core::Failure;
use tramline_core::compose::Publishing;
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::store::Store;
use tramline_core::topology::QueueSpec;
use tramline_core::transport::{Destination, Outgoing};
use tramline_memory::Memory;

async fn watched() -> (Scene, Arc<Mutex<Vec<String>>>) {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let notes = seen.clone();
    let watch = move |outgoing: &Outgoing| notes.lock().unwrap().push(outgoing.to.to_string());
    (Scene::with(Memory::options().watch(watch), QueueSpec::new(work())).await, seen)
}

#[tokio::test]
async fn what_is_sent_is_told_and_what_is_refused_is_not() {
    let (scene, seen) = watched().await;
    let nowhere = QueueRef::Main(QueueName::new("nowhere").unwrap());
    let refused = Outgoing { to: Destination::Queue(nowhere), ..message("2") };
    let answers = scene.answers(&[message("1"), refused]).await;
    assert_eq!([true, false], [answers[0].is_accepted(), answers[1].is_accepted()]);
    assert_eq!(*seen.lock().unwrap(), ["queue work"]);
}

#[tokio::test]
async fn what_a_transaction_publishes_is_told_if_it_commits_whoever_has_subscribed() {
    let (scene, seen) = watched().await;
    let writer = scene.memory.writer(scene.scope(Publishing::Queues));
    let failing = writer.write(|db| -> Result<(), _> {
        db.publish(&Noted { n: 1 })?;
        Err(Failure::permanent("not this time"))
    });
    assert!(failing.await.is_err());
    assert!(seen.lock().unwrap().is_empty());
    writer.write(|db| db.publish(&Noted { n: 2 })).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["topic notes (notes.noted)"]);
}
