//! Those that wait for the turn of their key: for how long, and who goes back.

use crate::kit::{Log, Ping, Rigged, SECOND, World, at_once, idle};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::sync::Semaphore;
use tramline::breaker::BreakerState;
use tramline::core::clock::{Clock, ManualClock, Timestamp};
use tramline::{
    Bus, CircuitBreaker, Endpoint, Failure, Ordering, QueueName, RateLimit, Retry, State,
};

/// Numbers from here on fail.
const BAD: u64 = 900;
/// Numbers from here on wait for the gate, and end well.
const SLOW: u64 = 1000;

#[derive(Clone)]
struct Bench {
    world: World,
    rigged: Rigged,
    log: Log,
    gate: Arc<Semaphore>,
}

async fn work(
    ping: Ping,
    State(log): State<Log>,
    State(gate): State<Arc<Semaphore>>,
    State(Since(clock, begin)): State<Since>,
) -> Result<(), Failure> {
    log.add(format!("{}@{}", ping.n, clock.now().since(begin).as_secs()));
    if ping.n >= SLOW {
        gate.acquire().await?.forget();
    } else if ping.n >= BAD {
        return Err(Failure::retryable("a bad message"));
    }
    Ok(())
}

#[derive(Clone)]
struct Since(ManualClock, Timestamp);

impl Bench {
    fn on(world: World) -> Self {
        let rigged = world.rigged();
        Self { world, rigged, log: Log::default(), gate: Arc::new(Semaphore::new(0)) }
    }

    fn new() -> Self {
        Self::on(World::new())
    }

    /// The bus keeps the order of keys.
    fn in_lanes() -> Self {
        Self::on(World::with(|options| options.without_key_lock()))
    }

    async fn start(&self, endpoint: Endpoint) -> Bus {
        let bus = self.world.bus_on(self.rigged.clone()).state(self.log.clone());
        let since = Since(self.world.clock.clone(), self.world.clock.now());
        let bus = bus.state(self.gate.clone()).state(since);
        bus.endpoint(endpoint.handle(work)).start().await.unwrap()
    }

    /// How many were sent back with a pause.
    fn retries(&self) -> usize {
        self.rigged.rig.log.lines().iter().filter(|line| *line == "retry").count()
    }

    fn expire_leases(&self) {
        self.world.memory.expire_leases(&QueueName::new("q").unwrap());
    }

    async fn wind(&self, seconds: u32) {
        for _ in 0..seconds {
            self.world.wind(SECOND).await;
        }
    }

    async fn depth(&self) -> [u64; 4] {
        self.world.depth("q").await
    }
}

async fn send(bus: &Bus, key: &str, numbers: impl IntoIterator<Item = u64>) {
    for n in numbers {
        bus.send("q", &Ping { n }).key(key).await.unwrap();
    }
    idle().await;
}

fn each(period: Duration) -> RateLimit {
    RateLimit::new(1, period)
}

fn breaker() -> CircuitBreaker {
    CircuitBreaker::named("gateway").calls_min(4).open_for(30 * SECOND).build()
}

async fn trip(breaker: &CircuitBreaker) {
    while breaker.state() == BreakerState::Closed {
        breaker.call(async { Err::<(), _>(Failure::retryable("down")) }).await.unwrap_err();
    }
    idle().await;
}

#[tokio::test]
async fn who_would_wait_for_longer_than_the_broker_allows_goes_back_until_its_turn() {
    let bench = Bench::new();
    *bench.rigged.rig.hold_max.lock() = Some(100 * SECOND);
    let bus = bench.start(Endpoint::new("q").rate_limit_per_key(each(20 * SECOND))).await;
    send(&bus, "a", 0..6).await;
    assert_eq!(bench.depth().await, [0, 2, 3, 0], "those at 60 seconds and later");
    bench.wind(110).await;
    assert_eq!(bench.log.take(), ["0@0", "1@20", "2@40", "3@60", "4@80", "5@100"]);
    assert_eq!(bench.retries(), 3);
}

#[tokio::test]
async fn who_has_waited_for_half_of_what_the_broker_allows_goes_back() {
    let bench = Bench::new();
    *bench.rigged.rig.hold_max.lock() = Some(100 * SECOND);
    let bus = bench.start(Endpoint::new("q").concurrency_per_key(1)).await;
    send(&bus, "a", SLOW..SLOW + 4).await;
    bench.wind(10).await;
    send(&bus, "b", SLOW + 10..SLOW + 13).await;
    bench.wind(39).await;
    assert_eq!((bench.depth().await, bench.retries()), ([0, 7, 0, 0], 0));
    bench.wind(1).await;
    assert_eq!(bench.retries(), 3, "those that have waited, and not the one at work");
    assert_eq!(bench.depth().await, [0, 4, 3, 0]);
    bench.gate.add_permits(100);
    bench.wind(3).await;
    assert_eq!(bench.depth().await, [0; 4]);
}

#[tokio::test]
async fn who_alone_is_taken_does_not_wait_in_the_way_of_others() {
    let bench = Bench::new();
    let endpoint = Endpoint::new("q").rate_limit_per_key(each(20 * SECOND)).prefetch(1);
    let bus = bench.start(endpoint).await;
    send(&bus, "a", [0, 1]).await;
    send(&bus, "b", [2]).await;
    bench.wind(20).await;
    assert_eq!(bench.log.take(), ["0@0", "2@0", "1@20"]);
}

#[tokio::test]
async fn what_is_lost_while_it_waits_takes_neither_a_turn_nor_a_place() {
    let bench = Bench::new();
    let endpoint = Endpoint::new("q").prefetch(8).rate_limit_per_key(each(SECOND));
    let bus = bench.start(endpoint).await;
    send(&bus, "a", 0..5).await;
    for _ in 0..3 {
        bench.expire_leases();
        idle().await;
    }
    assert_eq!((bench.depth().await, bench.retries()), ([0, 4, 0, 0], 0));
    bench.wind(10).await;
    let lines = bench.log.take();
    let mut times: Vec<_> = lines.iter().map(|line| line.split_once('@').unwrap().1).collect();
    times.sort();
    assert_eq!(times, ["0", "1", "2", "3", "4"], "{lines:?}");
}

#[tokio::test]
async fn those_that_find_no_place_come_back_one_after_the_other() {
    let bench = Bench::new();
    let endpoint = Endpoint::new("q").prefetch(4).rate_limit_per_key(each(100 * SECOND));
    let bus = bench.start(endpoint).await;
    send(&bus, "b", 10..13).await;
    send(&bus, "a", 0..5).await;
    assert_eq!((bench.depth().await, bench.retries()), ([0, 2, 4, 0], 4));
    bench.log.take();
    bench.wind(450).await;
    let lines = bench.log.take();
    let of_a: Vec<_> = lines.iter().filter(|line| line.find('@') == Some(1)).collect();
    assert_eq!(of_a, ["1@100", "2@200", "3@300", "4@400"]);
    assert_eq!(bench.retries(), 4, "each of them once");
}

/// Lets a process die with everything in `q` at work in it.
fn kill_with(bench: &Bench, numbers: std::ops::Range<u64>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _bus = runtime.block_on(async {
        let bus = bench.start(Endpoint::new("q").concurrency(8)).await;
        send(&bus, "a", numbers).await;
        bus
    });
    bench.expire_leases();
    drop(runtime);
}

#[test]
fn what_may_have_killed_its_process_is_not_sent_away_and_forgotten() {
    let bench = Bench::new();
    kill_with(&bench, SLOW..SLOW + 6);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let bus = bench.start(Endpoint::new("q").prefetch(8).concurrency_per_key(1)).await;
        idle().await;
        assert_eq!((bench.depth().await, bench.retries()), ([0, 6, 0, 0], 0));
        send(&bus, "a", SLOW + 6..SLOW + 7).await;
        assert_eq!(bench.retries(), 1, "others are");
    });
}

#[tokio::test]
async fn what_must_wait_for_its_key_is_not_in_the_way_of_those_that_are_tried() {
    let (bench, breaker) = (Bench::new(), breaker());
    let endpoint = Endpoint::new("q").rate_limit_per_key(each(3000 * SECOND));
    let bus = bench.start(endpoint.circuit_breaker(&breaker)).await;
    send(&bus, "a", 0..1).await;
    trip(&breaker).await;
    send(&bus, "a", 1..3).await;
    send(&bus, "b", 10..11).await;
    bench.wind(30).await;
    assert_eq!(
        (bench.log.take(), breaker.state()),
        (vec!["0@0".into(), "10@30".into()], BreakerState::Closed)
    );
    assert_eq!(bench.depth().await, [0, 0, 2, 0]);
}

#[tokio::test]
async fn what_has_failed_and_waits_for_its_key_keeps_its_place_and_its_failures_when_it_opens() {
    let (bench, breaker) = (Bench::in_lanes(), breaker());
    let endpoint = Endpoint::new("q").ordering(Ordering::PerKey).circuit_breaker(&breaker);
    let endpoint =
        endpoint.rate_limit_per_key(each(20 * SECOND)).retry(Retry::fixed(SECOND).runs(2));
    let bus = bench.start(endpoint).await;
    send(&bus, "a", [BAD, 1]).await;
    bench.wind(5).await;
    assert_eq!(bench.log.take(), [format!("{BAD}@0")]);
    trip(&breaker).await;
    assert_eq!((bench.depth().await, bench.rigged.rig.returned.len()), ([0, 2, 0, 0], 0));
    send(&bus, "b", [2]).await;
    bench.wind(200).await;
    assert_eq!(breaker.state(), BreakerState::Closed);
    let lines = bench.log.take();
    assert_eq!(
        (lines.len(), bench.depth().await),
        (4, [0, 0, 0, 1]),
        "a free run, and the last: {lines:?}"
    );
}

#[tokio::test]
async fn who_waits_goes_back_if_the_breaker_opens_while_there_is_no_receiver() {
    let (bench, breaker) = (Bench::new(), breaker());
    let endpoint = Endpoint::new("q").circuit_breaker(&breaker);
    let bus = bench.start(endpoint.rate_limit_per_key(each(3000 * SECOND))).await;
    send(&bus, "a", 0..4).await;
    assert_eq!(bench.depth().await, [0, 3, 0, 0]);
    bench.rigged.rig.broken_receivers.store(1, SeqCst);
    send(&bus, "b", [10]).await;
    trip(&breaker).await;
    bench.wind(1).await;
    assert_eq!(bench.depth().await[1], 0, "others could have them");
}

/// Writes down what it begins with; 0 and 40 wait for the gate.
async fn pass(ping: Ping, State(log): State<Log>, State(gate): State<Arc<Semaphore>>) {
    log.add(ping.n.to_string());
    if ping.n.is_multiple_of(40) {
        gate.acquire().await.unwrap().forget();
    }
}

#[tokio::test]
async fn what_was_fetched_behind_a_broken_lane_goes_back_though_another_key_has_its_turn() {
    let bench = Bench::in_lanes();
    bench.rigged.rig.prefetches.store(true, SeqCst);
    let start = || async {
        let endpoint = Endpoint::new("q").ordering(Ordering::PerKey).concurrency(2);
        let endpoint = endpoint.rate_limit_per_key(each(SECOND)).handle(pass);
        let bus = bench.world.bus_on(bench.rigged.clone()).endpoint(endpoint);
        bus.state(bench.log.clone()).state(bench.gate.clone()).start().await.unwrap()
    };
    let _declared = at_once(start().await.drain(SECOND)).await.unwrap();
    let sends = bench.start(Endpoint::new("other")).await;
    // Keys by tens. The last is still in the driver when both slots are taken.
    for n in [10, 11, 0, 1, 40, 2] {
        sends.send("q", &Ping { n }).key((n / 10).to_string()).await.unwrap();
    }
    let _bus = start().await;
    idle().await;
    assert_eq!(bench.log.lines(), ["10", "0", "40"]);
    let rig = &bench.rigged.rig;
    rig.failing_acks.store(1, SeqCst);
    rig.hanging_returns.store(1, SeqCst);
    bench.gate.add_permits(1);
    bench.wind(1).await;
    assert!(!bench.log.lines().contains(&"2".to_owned()), "{:?}", bench.log);
    rig.release.notify_one();
    bench.gate.add_permits(10);
    bench.wind(10).await;
    let lines = bench.log.take();
    let of_0: Vec<_> = lines.iter().filter(|line| line.len() == 1).collect();
    assert_eq!(of_0, ["0", "0", "1", "2"]);
    assert_eq!(bench.depth().await, [0; 4]);
}
