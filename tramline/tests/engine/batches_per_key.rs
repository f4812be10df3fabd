//! Batches of one key each.

use crate::kit::{Log, Ping, SECOND, World, at_once, idle};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tramline::{Bus, CircuitBreaker, Draft, Drained, Endpoint, Failure, Item, Ordering, State};

async fn keep(items: Vec<Item<Ping>>, State(log): State<Log>) {
    let numbers: Vec<_> = items.iter().map(|item| item.message.n.to_string()).collect();
    log.add(numbers.join(" "));
}

fn per_key(size_max: usize, wait: Duration) -> Endpoint {
    let endpoint = Endpoint::new("q").concurrency(1).batch(size_max, wait);
    endpoint.batch_per_key().handle_batch(keep)
}

async fn start(world: &World, log: &Log, endpoint: Endpoint) -> Bus {
    world.bus().state(log.clone()).endpoint(endpoint).start().await.unwrap()
}

/// A number under the key that is its hundreds; those below have none.
async fn send(bus: &Bus, numbers: &[u64]) {
    let pings: Vec<_> = numbers.iter().map(|n| Ping { n: *n }).collect();
    let drafts = pings.iter().map(|ping| match ping.n / 100 {
        0 => Draft::of(ping),
        key => Draft::of(ping).key(key.to_string()),
    });
    assert!(bus.send_all("q", drafts).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn what_is_there_at_once_becomes_a_batch_for_each_key_in_order() {
    let (world, log) = (World::new(), Log::default());
    let bus = start(&world, &log, per_key(3, Duration::ZERO)).await;
    send(&bus, &[101, 201, 1, 102, 2, 202, 103, 104, 203, 105]).await;
    idle().await;
    let expected = ["101 102 103", "201 202 203", "1 2", "104 105"];
    assert_eq!(
        log.take(),
        expected,
        "full ones first, then by age; without a key among themselves"
    );
    assert_eq!(world.depth("q").await, [0; 4]);
}

#[tokio::test]
async fn a_stream_of_one_key_keeps_no_other_waiting() {
    let (world, log) = (World::new(), Log::default());
    let bus = start(&world, &log, per_key(2, Duration::ZERO)).await;
    let numbers: Vec<_> = [201].into_iter().chain(101..=112).collect();
    send(&bus, &numbers).await;
    idle().await;
    let expected = ["101 102", "103 104", "105 106", "107 108", "201", "109 110", "111 112"];
    assert_eq!(log.take(), expected);
}

#[tokio::test]
async fn where_nothing_more_can_come_the_oldest_goes_at_once() {
    let (world, log) = (World::new(), Log::default());
    let bus = start(&world, &log, per_key(3, 60 * SECOND).prefetch(4)).await;
    send(&bus, &[101, 201, 301, 401, 501, 601]).await;
    idle().await;
    assert_eq!(log.take(), ["101", "201", "301"], "of six, four can be there");
    world.wind(60 * SECOND).await;
    assert_eq!(log.take(), ["401", "501", "601"]);
}

#[tokio::test]
async fn each_key_waits_from_its_first_message_on_and_a_full_one_for_nothing() {
    let (world, log) = (World::new(), Log::default());
    let bus = start(&world, &log, per_key(3, 5 * SECOND)).await;
    send(&bus, &[101]).await;
    world.wind(2 * SECOND).await;
    send(&bus, &[201]).await;
    world.wind(2 * SECOND).await;
    send(&bus, &[301, 302, 102, 202]).await;
    send(&bus, &[303]).await;
    idle().await;
    assert_eq!(log.take(), ["301 302 303"]);
    world.wind(SECOND).await;
    assert_eq!(log.take(), ["101 102"]);
    world.wind(SECOND).await;
    assert_eq!(log.len(), 0);
    world.wind(SECOND).await;
    assert_eq!(log.take(), ["201 202"]);
}

#[tokio::test]
async fn a_drain_handles_the_oldest_and_gives_back_the_others() {
    let (world, log) = (World::new(), Log::default());
    let bus = start(&world, &log, per_key(3, 60 * SECOND)).await;
    send(&bus, &[101, 201, 102, 301]).await;
    idle().await;
    assert_eq!(world.depth("q").await, [0, 4, 0, 0]);
    assert_eq!(at_once(bus.drain(60 * SECOND)).await.unwrap(), Drained::Clean);
    assert_eq!((log.take(), world.depth("q").await), (vec!["101 102".into()], [2, 0, 0, 0]));
    assert!(world.in_queue("q").await.iter().all(|row| row.failures == 0));
}

#[tokio::test]
async fn a_receiver_that_fails_while_they_grow_leaves_none_behind() {
    let (world, log) = (World::new(), Log::default());
    let rigged = world.rigged();
    let bus = world.bus_on(rigged.clone()).state(log.clone()).endpoint(per_key(3, 60 * SECOND));
    let bus = bus.start().await.unwrap();
    send(&bus, &[101, 201]).await;
    idle().await;
    rigged.rig.broken_receivers.store(1, SeqCst);
    idle().await;
    send(&bus, &[202]).await;
    idle().await;
    let handled = log.take().join(" ");
    assert!(["101 201 202", "101 201"].contains(&&*handled), "{handled}");
}

#[tokio::test]
async fn a_breaker_that_opens_sends_back_what_grows() {
    let (world, log) = (World::new(), Log::default());
    let breaker = CircuitBreaker::named("gateway").calls_min(1).build();
    let bus = start(&world, &log, per_key(3, 60 * SECOND).circuit_breaker(&breaker)).await;
    send(&bus, &[101, 201, 102, 301]).await;
    idle().await;
    assert_eq!(world.depth("q").await, [0, 4, 0, 0]);
    let failing = async { Err::<(), _>(Failure::retryable("down")) };
    assert!(breaker.call(failing).await.is_err());
    idle().await;
    assert_eq!((log.len(), world.depth("q").await), (0, [4, 0, 0, 0]));
}

#[tokio::test]
async fn in_an_ordered_queue_messages_of_a_key_keep_their_order() {
    for locks_keys in [true, false] {
        let world = match locks_keys {
            true => World::new(),
            false => World::with(|options| options.without_key_lock()),
        };
        let log = Log::default();
        let endpoint = per_key(3, SECOND).ordering(Ordering::PerKey);
        let bus = start(&world, &log, endpoint).await;
        send(&bus, &[101, 201, 102, 1, 2, 103]).await;
        for _ in 0..6 {
            world.wind(SECOND).await;
        }
        let seen = log.take();
        let of = |key: &str| -> Vec<_> {
            seen.iter().filter(|batch| batch.starts_with(key)).cloned().collect()
        };
        assert_eq!(
            (of("10"), of("1 ")),
            (vec!["101".into(), "102".into(), "103".into()], vec!["1 2".into()])
        );
        assert_eq!(world.depth("q").await, [0; 4]);
    }
}
