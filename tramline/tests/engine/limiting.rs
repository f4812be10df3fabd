//! Rates, of endpoints and of keys, and how many of a key are at work at once.

use crate::kit::{Log, Ping, Rigged, SECOND, World, at_once, idle};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::sync::Semaphore;
use tramline::core::clock::{Clock, Timestamp};
use tramline::{
    Attempt, Bus, Drained, Endpoint, Failure, Item, Ordering, QueueName, RateLimit, Retry, State,
};

/// When each number was handled, in milliseconds since the world began.
#[derive(Clone)]
struct Times(Log, tramline::core::clock::ManualClock, Timestamp);

impl Times {
    fn of(world: &World) -> Self {
        Self(Log::default(), world.clock.clone(), world.clock.now())
    }

    fn add(&self, n: u64) {
        self.0.add(format!("{n}@{}", self.1.now().since(self.2).as_millis()));
    }
}

async fn note(ping: Ping, State(times): State<Times>) {
    times.add(ping.n);
}

async fn start(world: &World, endpoint: Endpoint) -> (Bus, Log) {
    start_on(world, &world.rigged(), endpoint).await
}

async fn start_on(world: &World, rigged: &Rigged, endpoint: Endpoint) -> (Bus, Log) {
    let times = Times::of(world);
    let log = times.0.clone();
    let bus = world.bus_on(rigged.clone()).state(times).endpoint(endpoint);
    (bus.start().await.unwrap(), log)
}

/// How many were sent back with a pause.
fn retries(rigged: &Rigged) -> usize {
    rigged.rig.log.lines().iter().filter(|line| *line == "retry").count()
}

async fn send(bus: &Bus, key: &str, numbers: impl IntoIterator<Item = u64>) {
    for n in numbers {
        bus.send("q", &Ping { n }).key(key).await.unwrap();
    }
    idle().await;
}

async fn wind(world: &World, tenths: u32) {
    for _ in 0..tenths {
        world.wind(SECOND / 10).await;
    }
}

fn evenly(count: u32) -> RateLimit {
    RateLimit::per_second(count).burst(1)
}

#[tokio::test]
async fn an_endpoint_takes_no_message_before_its_time() {
    let world = World::new();
    let endpoint = Endpoint::new("q").concurrency(8).rate_limit(evenly(2)).handle(note);
    let (bus, log) = start(&world, endpoint).await;
    send(&bus, "a", 0..4).await;
    assert_eq!(world.depth("q").await, [3, 0, 0, 0], "those that wait are in the queue");
    wind(&world, 20).await;
    assert_eq!(log.take(), ["0@0", "1@500", "2@1000", "3@1500"]);
    wind(&world, 100).await;
    send(&bus, "a", 4..7).await;
    wind(&world, 10).await;
    assert_eq!(log.take(), ["4@12000", "5@12500", "6@13000"], "a rest saves nothing up");
}

#[tokio::test]
async fn after_a_rest_as_many_may_go_at_once_as_is_said() {
    for (limit, times) in [
        (RateLimit::per_second(2), ["0@0", "1@0", "2@500", "3@1000"]),
        (RateLimit::per_minute(120).burst(3), ["0@0", "1@0", "2@0", "3@500"]),
        (RateLimit::new(1, SECOND / 2).burst(4), ["0@0", "1@0", "2@0", "3@0"]),
    ] {
        let world = World::new();
        let (bus, log) = start(&world, Endpoint::new("q").rate_limit(limit).handle(note)).await;
        wind(&world, 100).await;
        send(&bus, "a", 0..4).await;
        wind(&world, 15).await;
        let lines = log.take();
        let shifted = lines.iter().map(|line| {
            let (n, at) = line.split_once('@').unwrap();
            format!("{n}@{}", at.parse::<u64>().unwrap() - 10_000)
        });
        assert_eq!(shifted.collect::<Vec<_>>(), times);
    }
}

#[tokio::test]
async fn every_run_counts_and_none_pauses_in_place() {
    async fn fail(ping: Ping, attempt: Attempt, State(times): State<Times>) -> Result<(), Failure> {
        times.add(ping.n);
        if attempt.0 < 3 { Err(Failure::retryable("again")) } else { Ok(()) }
    }
    for per_key in [false, true] {
        let world = World::new();
        let endpoint = Endpoint::new("q").retry(Retry::immediate(5));
        let endpoint = match per_key {
            true => endpoint.rate_limit_per_key(evenly(1)),
            false => endpoint.rate_limit(evenly(1)),
        };
        let (bus, log) = start(&world, endpoint.handle(fail)).await;
        send(&bus, "a", [1]).await;
        wind(&world, 50).await;
        assert_eq!(log.take(), ["1@0", "1@1000", "1@2000"]);
    }
}

#[tokio::test]
async fn of_a_batch_each_message_counts() {
    async fn keep(items: Vec<Item<Ping>>, State(times): State<Times>) {
        items.iter().for_each(|item| times.add(item.message.n));
    }
    let world = World::new();
    let endpoint = Endpoint::new("q").concurrency(1).batch(10, 2 * SECOND).rate_limit(evenly(1));
    let (bus, log) = start(&world, endpoint.handle_batch(keep)).await;
    send(&bus, "a", 0..4).await;
    wind(&world, 60).await;
    assert_eq!(log.take(), ["0@2000", "1@2000", "2@2000", "3@5000"]);
}

#[tokio::test]
async fn what_waits_for_the_rate_of_its_key_holds_up_neither_slots_nor_other_keys() {
    let world = World::new();
    let endpoint = Endpoint::new("q").concurrency(1).rate_limit_per_key(evenly(1)).handle(note);
    let (bus, log) = start(&world, endpoint).await;
    send(&bus, "a", 0..4).await;
    send(&bus, "b", 10..12).await;
    for n in 20..23 {
        bus.send("q", &Ping { n }).await.unwrap();
    }
    idle().await;
    assert_eq!(log.take(), ["0@0", "10@0", "20@0", "21@0", "22@0"]);
    assert_eq!(world.depth("q").await, [0, 4, 0, 0]);
    wind(&world, 40).await;
    assert_eq!(log.take(), ["1@1000", "11@1000", "2@2000", "3@3000"]);
    assert_eq!(world.depth("q").await, [0; 4]);
}

#[tokio::test]
async fn a_key_with_too_many_waiting_sends_them_back_uncharged_and_each_comes_at_its_turn() {
    let world = World::new();
    let rigged = world.rigged();
    let endpoint = Endpoint::new("q").prefetch(4).rate_limit_per_key(evenly(1)).handle(note);
    let (bus, log) = start_on(&world, &rigged, endpoint).await;
    send(&bus, "a", 0..20).await;
    send(&bus, "b", [100]).await;
    assert_eq!(log.take(), ["0@0", "100@0"]);
    assert_eq!(world.depth("q").await, [0, 2, 17, 0]);
    assert!(world.in_queue("q").await.iter().all(|peeked| peeked.failures == 0));
    for second in 1..20 {
        wind(&world, 10).await;
        send(&bus, "b", [100 + second]).await;
        let lines = log.take();
        assert_eq!(lines.len(), 2, "{lines:?}");
    }
    wind(&world, 10).await;
    assert_eq!((log.len(), world.depth("q").await), (0, [0; 4]));
    assert_eq!(retries(&rigged), 17, "each of them once");
}

#[tokio::test]
async fn a_drain_gives_back_what_waits_for_its_key_in_order() {
    for can_lock in [true, false] {
        let world = World::with(|options| match can_lock {
            true => options,
            false => options.without_key_lock(),
        });
        let ordering = if can_lock { Ordering::None } else { Ordering::PerKey };
        let endpoint = || {
            let endpoint = Endpoint::new("q").ordering(ordering).concurrency(1);
            endpoint.rate_limit_per_key(evenly(1)).handle(note)
        };
        let rigged = world.rigged();
        let (bus, log) = start_on(&world, &rigged, endpoint()).await;
        send(&bus, "a", 0..5).await;
        assert_eq!(at_once(bus.drain(60 * SECOND)).await.unwrap(), Drained::Clean);
        assert_eq!((log.take().len(), world.depth("q").await), (1, [4, 0, 0, 0]));
        assert_eq!(rigged.rig.returned.len(), 4, "at once, and not when their leases end");
        let (_bus, log) = start(&world, endpoint()).await;
        wind(&world, 40).await;
        assert_eq!(log.take(), ["1@0", "2@1000", "3@2000", "4@3000"]);
    }
}

#[tokio::test]
async fn order_by_key_and_a_rate_for_each_key_go_together() {
    for can_lock in [true, false] {
        let world = World::with(|options| match can_lock {
            true => options,
            false => options.without_key_lock(),
        });
        let endpoint = Endpoint::new("q").ordering(Ordering::PerKey).prefetch(12);
        let endpoint = endpoint.rate_limit_per_key(evenly(1)).handle(note);
        let rigged = world.rigged();
        let (bus, log) = start_on(&world, &rigged, endpoint).await;
        for n in 0..3 {
            for key in 0..8 {
                send(&bus, &key.to_string(), [10 * key + n]).await;
            }
        }
        wind(&world, 50).await;
        for n in 0..3 {
            let of_second = log.lines()[8 * n..8 * n + 8].to_vec();
            let is_it = |line: &String| line.split_once('@').unwrap().0.ends_with(&n.to_string());
            assert!(of_second.iter().all(is_it), "{:?}", log.lines());
        }
        assert_eq!((log.len(), world.depth("q").await), (24, [0; 4]));
        assert!(can_lock || retries(&rigged) == 0, "in a lane it would be overtaken");
    }
}

/// How many of each key are at work, and how many were at most.
#[derive(Clone, Default)]
struct AtWork(Arc<Mutex<HashMap<u64, (u64, u64)>>>);

impl AtWork {
    fn begin(&self, key: u64) {
        let mut keys = self.0.lock();
        let (now, most) = keys.entry(key).or_default();
        *now += 1;
        *most = (*most).max(*now);
    }

    fn end(&self, key: u64) {
        self.0.lock().get_mut(&key).unwrap().0 -= 1;
    }

    fn of(&self, key: u64) -> (u64, u64) {
        self.0.lock().get(&key).copied().unwrap_or_default()
    }
}

#[derive(Clone)]
struct Gate(Arc<Semaphore>);

/// The key is the number's hundreds.
async fn work(ping: Ping, State(at_work): State<AtWork>, State(gate): State<Gate>) {
    at_work.begin(ping.n / 100);
    gate.0.acquire().await.unwrap().forget();
    at_work.end(ping.n / 100);
}

async fn start_gated(world: &World, endpoint: Endpoint) -> (Bus, AtWork, Gate) {
    let (at_work, gate) = (AtWork::default(), Gate(Arc::new(Semaphore::new(0))));
    let bus = world.bus().state(at_work.clone()).state(gate.clone()).endpoint(endpoint);
    (bus.start().await.unwrap(), at_work, gate)
}

#[tokio::test]
async fn of_a_key_no_more_are_at_work_than_is_said_and_as_many_are() {
    let world = World::new();
    let endpoint = Endpoint::new("q").concurrency(5).concurrency_per_key(2).handle(work);
    let (bus, at_work, gate) = start_gated(&world, endpoint).await;
    send(&bus, "a", 0..10).await;
    assert_eq!((at_work.of(0), at_work.of(1)), ((2, 2), (0, 0)));
    send(&bus, "b", 100..101).await;
    send(&bus, "c", 200..210).await;
    assert_eq!((at_work.of(1), at_work.of(2)), ((1, 1), (2, 2)), "those that wait hold no slot");
    for _ in 0..21 {
        gate.0.add_permits(1);
        idle().await;
    }
    for key in [0, 2] {
        assert_eq!(at_work.of(key), (0, 2));
    }
    assert_eq!(world.depth("q").await, [0; 4]);
}

#[tokio::test]
async fn when_too_many_wait_for_their_key_the_rest_goes_back_uncharged_for_a_second() {
    let world = World::new();
    let endpoint = Endpoint::new("q").prefetch(6).concurrency_per_key(1).handle(work);
    let (bus, at_work, gate) = start_gated(&world, endpoint).await;
    send(&bus, "a", 0..20).await;
    send(&bus, "b", 100..101).await;
    assert_eq!((at_work.of(0), at_work.of(1)), ((1, 1), (1, 1)), "others are not held up");
    assert_eq!(world.depth("q").await, [0, 5, 16, 0]);
    gate.0.add_permits(100);
    for _ in 0..10 {
        world.wind(SECOND).await;
    }
    assert_eq!((at_work.of(0), world.depth("q").await), ((0, 1), [0; 4]));
}

#[tokio::test]
async fn a_batch_has_no_more_of_a_key_than_may_be_at_work() {
    async fn keep(items: Vec<Item<Ping>>, State(log): State<Log>) {
        let numbers: Vec<_> = items.iter().map(|item| item.message.n.to_string()).collect();
        log.add(numbers.join(" "));
    }
    let (world, log) = (World::new(), Log::default());
    let endpoint = Endpoint::new("q").concurrency(1).batch(10, SECOND).concurrency_per_key(2);
    let bus = world.bus().state(log.clone()).endpoint(endpoint.handle_batch(keep));
    let bus = bus.start().await.unwrap();
    send(&bus, "a", 0..5).await;
    send(&bus, "b", 10..11).await;
    for _ in 0..3 {
        world.wind(SECOND).await;
    }
    assert_eq!(log.take(), ["0 1 10", "2 3", "4"]);
}

#[tokio::test]
async fn what_is_over_its_time_limit_gives_its_turn_to_the_next_of_its_key() {
    async fn hang(ping: Ping, State(times): State<Times>) {
        times.add(ping.n);
        std::future::pending().await
    }
    let world = World::new();
    let endpoint = Endpoint::new("q").concurrency_per_key(1).rate_limit_per_key(evenly(1));
    let endpoint = endpoint.time_limit(3 * SECOND).retry(Retry::none());
    let (bus, log) = start(&world, endpoint.handle(hang)).await;
    send(&bus, "a", 0..3).await;
    wind(&world, 100).await;
    assert_eq!(log.take(), ["0@0", "1@3000", "2@6000"]);
    assert_eq!(world.depth("q").await, [0, 0, 0, 3]);
}

#[tokio::test]
async fn what_is_lost_while_it_waits_for_its_key_is_not_handled_twice() {
    let world = World::new();
    let endpoint = Endpoint::new("q").rate_limit_per_key(evenly(1)).handle(note);
    let (bus, log) = start(&world, endpoint).await;
    send(&bus, "a", 0..3).await;
    world.memory.expire_leases(&QueueName::new("q").unwrap());
    wind(&world, 100).await;
    let mut numbers: Vec<_> = log.take().iter().map(|line| line[..1].to_owned()).collect();
    numbers.sort();
    assert_eq!(
        (numbers, world.depth("q").await),
        (vec!["0".into(), "1".into(), "2".into()], [0; 4])
    );
}

#[tokio::test]
async fn what_lets_nothing_through_is_refused_at_the_start() {
    let world = World::new();
    let endpoint = Endpoint::new("q")
        .rate_limit(RateLimit::per_second(0))
        .rate_limit_per_key(RateLimit::new(5, Duration::ZERO).burst(0))
        .concurrency_per_key(0)
        .time_limit(Duration::ZERO);
    let slow = RateLimit::new(1, Duration::MAX);
    let fast = RateLimit::new(u32::MAX, Duration::from_nanos(1));
    let other = Endpoint::new("r").rate_limit(slow).rate_limit_per_key(fast).handle(note);
    let bus = world.bus().state(Times::of(&world)).endpoint(endpoint.handle(note)).endpoint(other);
    let said = bus.start().await.unwrap_err().to_string();
    for words in [
        "endpoint q: `.rate_limit(…)`: a rate of 0 lets nothing through",
        "endpoint q: `.rate_limit_per_key(…)`: 5 in no time is no limit",
        "endpoint q: `.rate_limit_per_key(…)`: a burst of 0 lets nothing through",
        "endpoint q: `.concurrency_per_key(0)` lets no message with a key run",
        "endpoint q: a time limit of 0 lets nothing finish",
        "endpoint r: `.rate_limit(…)`: 1 in",
        "endpoint r: `.rate_limit_per_key(…)`: 4294967295 in 1ns is more than can be counted",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
}

#[tokio::test]
async fn a_rate_that_holds_a_key_for_longer_than_the_broker_allows_is_refused() {
    let world = World::with(|options| options.without_key_lock());
    let rigged = world.rigged();
    *rigged.rig.hold_max.lock() = Some(30 * 60 * SECOND);
    let endpoint = Endpoint::new("q").ordering(Ordering::PerKey);
    let endpoint = endpoint.rate_limit_per_key(RateLimit::per_hour(1)).handle(note);
    let bus = world.bus_on(rigged).state(Times::of(&world)).endpoint(endpoint);
    let said = bus.start().await.unwrap_err().to_string();
    assert!(
        said.contains(
            "its rate for each key makes the last of 2000 messages of its ordered queue wait"
        ),
        "{said}"
    );
}

#[tokio::test]
async fn a_broker_sends_no_further_ahead_than_a_rate_can_take_in_time() {
    let world = World::new();
    let rigged = world.rigged();
    rigged.rig.prefetches.store(true, SeqCst);
    *rigged.rig.hold_max.lock() = Some(100 * SECOND);
    let slow = RateLimit::new(1, 10 * SECOND).burst(1);
    let (bus, log) =
        start_on(&world, &rigged, Endpoint::new("q").rate_limit(slow).handle(note)).await;
    send(&bus, "a", 0..20).await;
    let [ready, leased, ..] = world.depth("q").await;
    assert_eq!((log.take().len(), ready + leased), (1, 19));
    assert!(leased <= 5, "{leased} are held, and the last would be for {leased}0 seconds");
}

#[tokio::test]
async fn a_rate_at_which_one_message_alone_stays_for_too_long_is_refused() {
    for (period, is_refused) in [(50 * SECOND, false), (51 * SECOND, true)] {
        let world = World::new();
        let rigged = world.rigged();
        *rigged.rig.hold_max.lock() = Some(100 * SECOND);
        let endpoint = Endpoint::new("q").rate_limit(RateLimit::new(1, period)).handle(note);
        let bus = world.bus_on(rigged).state(Times::of(&world)).endpoint(endpoint);
        let said = bus.start().await.err().map(|error| error.to_string());
        assert_eq!(said.is_some(), is_refused, "{said:?}");
        let refused = said.as_ref().is_none_or(|said| {
            said.contains("takes a message every 51s, and rigged lets one")
                && said.contains("stay unsettled for at most 100s")
        });
        assert!(refused, "{said:?}");
    }
}
