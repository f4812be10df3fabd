//! Transports without native retry or dead letters: a confirmed copy, then the ack.

use crate::kit::{Answer, Log, Paid, Ping, Rigged, SECOND, World, idle};
use std::sync::atomic::Ordering::SeqCst;
use tramline::core::transport::{Receiver, Source, Transport};
use tramline::{Attempt, Bus, Endpoint, Failure, Retry, State};

async fn fail_until(ping: Ping, attempt: Attempt, State(log): State<Log>) -> Result<(), Failure> {
    log.add(format!("run {}", attempt.0));
    if u64::from(attempt.0) < ping.n { Err(Failure::retryable("not yet")) } else { Ok(()) }
}

fn world() -> World {
    World::with(|options| options.without_native_retry().without_native_dead_letters())
}

async fn start(world: &World, rigged: &Rigged, log: &Log) -> Bus {
    let retry = Retry::fixed(10 * SECOND).runs(3);
    let endpoint = Endpoint::new("q").subscribe::<Ping>().retry(retry).handle(fail_until);
    world.bus_on(rigged.clone()).state(log.clone()).endpoint(endpoint).start().await.unwrap()
}

#[tokio::test]
async fn a_retry_is_a_confirmed_copy_and_then_the_ack() {
    let (world, log) = (world(), Log::default());
    let rigged = world.rigged();
    let bus = start(&world, &rigged, &log).await;
    let id = bus.publish(&Ping { n: 2 }).key("k").header("h", 1i64).await.unwrap().id;
    idle().await;
    assert_eq!(rigged.rig.log.lines(), ["send 1 Accept", "send 1 Accept", "ack"]);
    let waiting = &world.in_queue("q").await[0];
    assert_eq!((waiting.failures, waiting.envelope.id.as_ref()), (1, Some(&id)));
    assert_eq!(waiting.envelope.key.as_deref(), Some("k"));
    assert_eq!(waiting.envelope.via, None);
    world.wind(10 * SECOND).await;
    assert_eq!(log.lines(), ["run 1", "run 2"]);
    assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_dead_letter_is_a_confirmed_copy_with_reason_and_notes() {
    let (world, log) = (world(), Log::default());
    let rigged = world.rigged();
    let bus = start(&world, &rigged, &log).await;
    let id = bus.send("q", &Ping { n: 100 }).await.unwrap().id;
    world.wind(10 * SECOND).await;
    world.wind(10 * SECOND).await;
    let dead = world.dead("q").await;
    assert_eq!(dead[0].envelope.id, Some(id));
    let death = dead[0].death.as_ref().unwrap();
    assert_eq!((death.reason.as_str(), death.failures), ("exhausted", 3));
    let failures: Vec<_> = death.history.notes().iter().map(|note| note.failure).collect();
    assert_eq!(failures, [1, 2, 3]);
    assert_eq!(world.depth("q").await[..3], [0, 0, 0]);
}

#[tokio::test]
async fn a_crash_between_copy_and_ack_duplicates_and_never_loses() {
    let (world, log) = (world(), Log::default());
    let rigged = world.rigged();
    let bus = start(&world, &rigged, &log).await;
    rigged.rig.failing_acks.store(1, SeqCst);
    bus.send("q", &Ping { n: 2 }).await.unwrap();
    idle().await;
    // The original came back, failed as a first run again, and left a second copy.
    assert_eq!(log.lines(), ["run 1", "run 1"]);
    world.wind(10 * SECOND).await;
    assert_eq!(log.lines(), ["run 1", "run 1", "run 2", "run 2"]);
    assert_eq!(world.depth("q").await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_copy_that_is_refused_is_tried_again_while_the_message_is_held() {
    for answer in [Answer::Refuse, Answer::Unavailable, Answer::TooFew] {
        let (world, log) = (world(), Log::default());
        let rigged = world.rigged();
        let bus = start(&world, &rigged, &log).await;
        bus.send("q", &Ping { n: 100 }).await.unwrap();
        rigged.rig.answers.lock().extend([answer; 3]);
        idle().await;
        assert_eq!(log.lines(), ["run 1"], "the handler does not run again for it");
        assert_eq!(world.depth("q").await[1], 1, "it is held: {answer:?}");
        for _ in 0..3 {
            world.wind(SECOND).await;
        }
        assert_eq!(world.depth("q").await[1], 0, "{answer:?}");
        assert!(world.in_queue("q").await.iter().all(|row| row.failures == 1));
        assert_eq!(rigged.rig.log.lines().last().unwrap(), "ack");
    }
}

#[tokio::test]
async fn a_copy_that_is_never_taken_brings_the_message_back_as_it_was() {
    let (world, log) = (world(), Log::default());
    let rigged = world.rigged();
    let bus = start(&world, &rigged, &log).await;
    bus.send("q", &Ping { n: 100 }).await.unwrap();
    rigged.rig.answers.lock().extend([Answer::Refuse; 8]);
    for _ in 0..7 {
        idle().await;
        assert_eq!(log.lines(), ["run 1"]);
        world.wind(15 * SECOND).await;
    }
    assert_eq!(log.lines(), ["run 1", "run 1"], "uncharged");
    assert_eq!(world.in_queue("q").await[0].failures, 1);
}

#[tokio::test]
async fn a_drain_ends_the_tries_and_returns_the_message() {
    let (world, log) = (world(), Log::default());
    let rigged = world.rigged();
    let bus = start(&world, &rigged, &log).await;
    bus.send("q", &Ping { n: 100 }).await.unwrap();
    rigged.rig.answers.lock().extend([Answer::Unavailable; 8]);
    idle().await;
    let drained = crate::kit::at_once(bus.drain(60 * SECOND)).await.unwrap();
    assert_eq!(drained, tramline::Drained::Clean);
    assert_eq!(world.depth("q").await, [1, 0, 0, 0]);
    assert_eq!(world.in_queue("q").await[0].failures, 0);
}

#[tokio::test]
async fn an_unknown_type_waits_by_copies_and_its_mark_travels_with_them() {
    let (world, log) = (world(), Log::default());
    let rigged = world.rigged();
    let bus = start(&world, &rigged, &log).await;
    bus.send("q", &Paid { n: 1 }).await.unwrap();
    for _ in 0..90 {
        world.wind(10 * SECOND).await;
    }
    let dead = world.dead("q").await;
    let death = dead[0].death.as_ref().unwrap();
    assert_eq!((death.reason.as_str(), death.failures), ("unhandled", 0));
}

#[tokio::test]
async fn dead_letters_can_be_read_as_a_queue_and_redriven() {
    let (world, log) = (world(), Log::default());
    let rigged = world.rigged();
    let bus = start(&world, &rigged, &log).await;
    bus.send("q", &Ping { n: 100 }).await.unwrap();
    world.wind(10 * SECOND).await;
    world.wind(10 * SECOND).await;
    let dead = tramline::core::name::QueueRef::Dead(tramline::QueueName::new("q").unwrap());
    let mut receiver = rigged.receiver(&Source::of(dead, 1)).await.unwrap();
    let letter = receiver.next().await.unwrap();
    assert!(letter.is_some());
    drop(letter);
    log.take();
    assert_eq!(bus.dead_letters("q").unwrap().redrive_all().await.unwrap(), 1);
    idle().await;
    assert_eq!(log.lines(), ["run 1"]);
}
