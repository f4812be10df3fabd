//! Whoever waits is woken, and no wake-up is lost.

use crate::kit::{Polled, SECOND, Scene, ack, id, message, receiver, take, work};
use tramline_core::clock::Clock;
use tramline_core::name::QueueRef;
use tramline_core::transport::{Outgoing, Receiver, Source, Transport};

#[tokio::test]
async fn one_message_wakes_one_receiver() {
    let scene = Scene::new().await;
    let mut receivers = [scene.receiver().await, scene.receiver().await];
    let mut waiting = receivers.each_mut().map(|receiver| Polled::new(receiver.next()));
    waiting.iter_mut().for_each(|next| next.pending("an empty queue"));
    scene.send([message("a")]).await;
    assert_eq!(waiting.iter().filter(|next| next.is_woken()).count(), 1);
}

#[tokio::test]
async fn as_many_messages_wake_as_many_receivers() {
    let scene = Scene::new().await;
    let mut receivers = [scene.receiver().await, scene.receiver().await];
    let mut waiting = receivers.each_mut().map(|receiver| Polled::new(receiver.next()));
    waiting.iter_mut().for_each(|next| next.pending("an empty queue"));
    scene.send(["a", "b"].map(message)).await;
    assert!(waiting.iter().all(Polled::is_woken));
    let taken = waiting.each_mut().map(|next| next.ready("a message").unwrap().unwrap());
    assert_eq!(taken.each_ref().map(id), ["a", "b"]);
}

#[tokio::test]
async fn a_woken_receiver_that_does_not_look_hands_its_ring_on() {
    let scene = Scene::new().await;
    let (mut first, mut second) = (scene.receiver().await, scene.receiver().await);
    let mut cancelled = Polled::new(first.next());
    let mut next = Polled::new(second.next());
    cancelled.pending("an empty queue");
    next.pending("an empty queue");
    scene.send([message("a")]).await;
    drop(cancelled);
    assert!(next.is_woken());
    next.ready("the message").unwrap();
}

#[tokio::test]
async fn a_message_that_is_due_earlier_makes_every_receiver_set_its_timer_anew() {
    let scene = Scene::new().await;
    let now = scene.clock.now();
    let later =
        |id, seconds: u32| Outgoing { due: Some(now.after(SECOND * seconds)), ..message(id) };
    scene.send([later("late", 10)]).await;
    let (mut first, mut second) = (scene.receiver().await, scene.receiver().await);
    let mut cancelled = Polled::new(first.next());
    let mut next = Polled::new(second.next());
    cancelled.pending("nothing is due");
    next.pending("nothing is due");
    scene.send([later("early", 1)]).await;
    cancelled.pending("nothing is due yet");
    assert!(next.is_woken(), "the first may be dropped, with the timer it has just set");
    next.pending("nothing is due yet");
    drop(cancelled);
    scene.clock.advance(SECOND);
    assert!(next.is_woken());
    assert_eq!(id(&next.ready("a due message").unwrap().unwrap()), "early");
}

#[tokio::test]
async fn a_freed_slot_wakes_its_receiver_and_only_then_is_more_taken() {
    let scene = Scene::new().await;
    scene.send(["a", "b"].map(message)).await;
    let source = Source::of(QueueRef::Main(work()), 1);
    let mut receiver = scene.memory.receiver(&source).await.unwrap();
    let held = take(&mut receiver).await;
    let mut next = Polled::new(receiver.next());
    next.pending("the only slot is taken");
    drop(held);
    assert!(next.is_woken());
    assert_eq!(id(&next.ready("the message that was given back").unwrap().unwrap()), "a");
}

#[tokio::test]
async fn what_is_given_back_wakes_a_receiver_of_another_handle() {
    let scene = Scene::new().await;
    scene.send([message("a")]).await;
    let held = take(&mut scene.receiver().await).await;
    let mut elsewhere = receiver(&scene.memory.clone(), QueueRef::Main(work())).await;
    let mut next = Polled::new(elsewhere.next());
    next.pending("it is held");
    drop(held);
    assert!(next.is_woken());
    next.ready("the message that was given back").unwrap();
}

#[tokio::test]
async fn a_sender_far_ahead_of_those_at_work_gives_them_their_turn_and_nobody_else() {
    let scene = Scene::new().await;
    let backlog: Vec<_> = (0..1_000).map(|number| message(&number.to_string())).collect();
    Polled::new(scene.answers(&backlog)).ready("an answer, with nobody at work");
    let mut receiver = scene.receiver().await;
    let at_work = take(&mut receiver).await;
    let one = [message("one more")];
    let mut sending = Polled::new(scene.answers(&one));
    sending.pending("those who handle go first");
    assert!(sending.ready("an answer")[0].is_accepted());
    ack(at_work).await;
    Polled::new(scene.answers(&one)).ready("an answer, with nobody at work any more");
}
