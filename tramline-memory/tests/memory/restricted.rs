//! With less than it could offer, memory is like the brokers that cannot do it.

use crate::kit::{Scene, id, message, take, work};
use tramline_core::ErrorKind;
use tramline_core::clock::Timestamp;
use tramline_core::dead::{FailureNote, History, Reason};
use tramline_core::name::QueueRef;
use tramline_core::operate::{Operate, Redrive};
use tramline_core::topology::QueueSpec;
use tramline_core::transport::{CopyOf, Delivery, Destination, Outgoing, Sent};
use tramline_memory::Memory;

#[tokio::test]
async fn native_dead_letters_take_dead_letters_only() {
    let scene = Scene::new().await;
    let to = Destination::Queue(QueueRef::Dead(work()));
    let answers = scene.answers(&[Outgoing { to: to.clone(), ..message("a") }]).await;
    match &answers[..] {
        [Sent::Refused(error)] => assert_eq!(error.kind(), ErrorKind::Unsupported),
        other => panic!("expected a refusal, got {other:?}"),
    }
    scene.send([Outgoing { to, copy: Some(dead_letter()), ..message("b") }]).await;
    assert_eq!(id(&take(&mut scene.dead_receiver().await).await), "b");
}

#[tokio::test]
async fn dead_letters_that_are_a_queue_of_their_own_take_anything() {
    let options = Memory::options().without_native_dead_letters();
    let scene = Scene::with(options, QueueSpec::new(work())).await;
    let to = Destination::Queue(QueueRef::Dead(work()));
    scene.send([Outgoing { to, ..message("a") }]).await;
    assert_eq!(id(&take(&mut scene.dead_receiver().await).await), "a");
    let groups = scene.memory.groups(&work()).await.unwrap();
    assert_eq!((groups[0].reason.as_str(), groups[0].count), ("unknown", 1));
}

#[tokio::test]
async fn a_dead_letter_copy_is_a_dead_letter_to_operators() {
    let options = Memory::options().without_native_dead_letters();
    let scene = Scene::with(options, QueueSpec::new(work())).await;
    let dead = QueueRef::Dead(work());
    let to = Destination::Queue(dead.clone());
    scene.send([Outgoing { to, copy: Some(dead_letter()), ..message("a") }]).await;
    let peeked = scene.memory.peek(&dead, None, 10).await.unwrap();
    let death = peeked[0].death.as_ref().unwrap();
    assert_eq!((&death.reason, death.failures), (&Reason::Exhausted, 5));
    assert_eq!(death.first_failed_at, Some(Timestamp::from_millis(3)));

    assert_eq!(scene.memory.redrive(&work(), Redrive::all()).await.unwrap(), 1);
    let again = take(&mut scene.receiver().await).await;
    assert_eq!((again.failures(), again.history(), again.deliveries()), (0, &[][..], Some(1)));
}

fn dead_letter() -> CopyOf {
    let mut history = History::new();
    let at = Timestamp::from_millis(3);
    history.push(FailureNote { at, failure: 5, error: "no".to_owned() });
    CopyOf::DeadLetter { reason: Reason::Exhausted, failures: 5, history }
}
