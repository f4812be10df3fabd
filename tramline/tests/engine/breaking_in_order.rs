//! Circuit breakers around ordered queues and around batches.

use crate::breaking::Gateway;
use crate::kit::{Log, Ping, Rigged, SECOND, World, at_once, idle};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::sync::Semaphore;
use tramline::breaker::BreakerState;
use tramline::{
    Bus, CircuitBreaker, Drained, Endpoint, Failure, Item, Ordering, QueueName, Retry, State,
};

async fn charge(
    ping: Ping,
    State(gateway): State<Gateway>,
    State(log): State<Log>,
) -> Result<(), Failure> {
    if gateway.is_down.load(SeqCst) {
        log.add(format!("{} fails", ping.n));
        return Err(Failure::retryable("the gateway is down"));
    }
    log.add(ping.n.to_string());
    Ok(())
}

async fn charge_all(
    items: Vec<Item<Ping>>,
    State(gateway): State<Gateway>,
    State(log): State<Log>,
) -> Result<(), Failure> {
    let numbers: Vec<_> = items.iter().map(|item| item.message.n.to_string()).collect();
    log.add(numbers.join(" "));
    match gateway.is_down.load(SeqCst) {
        true => Err(Failure::retryable("the gateway is down")),
        false => Ok(()),
    }
}

struct Bench {
    world: World,
    rigged: Rigged,
    log: Log,
    gateway: Gateway,
    breaker: CircuitBreaker,
}

impl Bench {
    fn on(world: World, probes: u32) -> Self {
        let rigged = world.rigged();
        rigged.rig.prefetches.store(true, SeqCst);
        let breaker = CircuitBreaker::named("gateway").calls_min(4).open_for(30 * SECOND);
        let breaker = breaker.probes(probes).build();
        Self { world, rigged, log: Log::default(), gateway: Gateway::default(), breaker }
    }

    async fn start(&self, endpoint: Endpoint) -> Bus {
        let bus = self.world.bus_on(self.rigged.clone()).state(self.log.clone());
        let endpoint = endpoint.circuit_breaker(&self.breaker);
        bus.state(self.gateway.clone()).endpoint(endpoint).start().await.unwrap()
    }

    /// Opens it, without any message.
    async fn trip(&self) {
        while self.breaker.state() == BreakerState::Closed {
            self.breaker
                .call(async { Err::<(), _>(Failure::retryable("down")) })
                .await
                .unwrap_err();
        }
        idle().await;
    }

    fn down(&self, is_down: bool) {
        self.gateway.is_down.store(is_down, SeqCst);
    }

    /// Sends `of_each` numbers of each of the keys `0..keys`: key × 1000 + its place.
    async fn send(&self, bus: &Bus, keys: u64, of_each: u64) {
        for place in 0..of_each {
            for key in 0..keys {
                let ping = Ping { n: key * 1000 + place };
                bus.send("q", &ping).key(key.to_string()).await.unwrap();
            }
        }
        idle().await;
    }

    /// That each key was handled in order, and all of it.
    fn assert_in_order(&self, keys: u64, of_each: u64) {
        let handled: Vec<u64> = self.log.lines().iter().filter_map(|n| n.parse().ok()).collect();
        for key in 0..keys {
            let places = handled.iter().filter(|n| *n / 1000 == key).map(|n| n % 1000);
            assert_eq!(places.collect::<Vec<_>>(), (0..of_each).collect::<Vec<_>>(), "key {key}");
        }
    }
}

fn worlds() -> [World; 2] {
    [World::new(), World::with(|options| options.without_key_lock())]
}

fn ordered() -> Endpoint {
    let endpoint = Endpoint::new("q").concurrency(4).ordering(Ordering::PerKey);
    endpoint.retry(Retry::fixed(10 * SECOND).runs(3)).handle(charge)
}

#[tokio::test]
async fn order_by_key_is_kept_through_an_outage_and_nobody_runs_out_of_retries() {
    for probes in [1, 3] {
        for world in worlds() {
            let bench = Bench::on(world, probes);
            let bus = bench.start(ordered()).await;
            bench.down(true);
            bench.send(&bus, 5, 6).await;
            for seconds in [7, 30, 60, 90, 30, 33] {
                bench.world.wind(seconds * SECOND).await;
                assert!(matches!(bench.breaker.state(), BreakerState::Open { .. }));
            }
            bench.down(false);
            for _ in 0..10 {
                bench.world.wind(11 * SECOND).await;
            }
            assert_eq!(bench.breaker.state(), BreakerState::Closed);
            bench.assert_in_order(5, 6);
            assert_eq!(bench.world.depth("q").await, [0; 4]);
        }
    }
}

#[tokio::test]
async fn while_it_is_open_what_has_failed_is_held_with_what_is_behind_it_and_nothing_else() {
    let bench = Bench::on(World::with(|options| options.without_key_lock()), 1);
    let bus = bench.start(ordered()).await;
    bench.down(true);
    bench.send(&bus, 8, 4).await;
    assert!(matches!(bench.breaker.state(), BreakerState::Open { .. }));
    let [ready, leased, ..] = bench.world.depth("q").await;
    assert!(leased <= 16 && ready + leased == 32, "{ready} ready and {leased} held");
    bench.world.wind(10 * SECOND).await;
    assert_eq!(bench.world.depth("q").await, [ready, leased, 0, 0]);
    bench.down(false);
    for _ in 0..5 {
        bench.world.wind(10 * SECOND).await;
    }
    bench.assert_in_order(8, 4);
}

#[tokio::test]
async fn what_is_behind_a_message_that_ends_while_it_is_open_goes_back() {
    async fn wait(ping: Ping, State(gate): State<Arc<Semaphore>>, State(log): State<Log>) {
        gate.acquire().await.unwrap().forget();
        log.add(ping.n.to_string());
    }
    let bench = Bench::on(World::with(|options| options.without_key_lock()), 1);
    let gate = Arc::new(Semaphore::new(0));
    let endpoint = Endpoint::new("q").ordering(Ordering::PerKey).circuit_breaker(&bench.breaker);
    let bus = bench.world.bus_on(bench.rigged.clone()).state(gate.clone()).state(bench.log.clone());
    let bus = bus.endpoint(endpoint.handle(wait)).start().await.unwrap();
    bench.send(&bus, 1, 4).await;
    bench.trip().await;
    assert_eq!(bench.world.depth("q").await, [0, 4, 0, 0]);
    gate.add_permits(1);
    idle().await;
    assert_eq!(bench.world.depth("q").await, [3, 0, 0, 0]);
    gate.add_permits(10);
    bench.world.wind(30 * SECOND).await;
    bench.assert_in_order(1, 4);
}

#[tokio::test]
async fn whoever_is_suspected_is_no_killer_because_of_an_outage() {
    for world in worlds() {
        let bench = Bench::on(world, 1);
        let endpoint = || ordered().retry(Retry::fixed(10 * SECOND).runs(50));
        let bus = bench.start(endpoint()).await;
        bench.down(true);
        bench.send(&bus, 1, 3).await;
        // As if its process had died with it.
        for _ in 0..3 {
            bench.world.memory.expire_leases(&QueueName::new("q").unwrap());
            bench.world.wind(SECOND).await;
        }
        bench.trip().await;
        for _ in 0..20 {
            bench.world.wind(11 * SECOND).await;
            bench.world.memory.expire_leases(&QueueName::new("q").unwrap());
        }
        bench.down(false);
        for _ in 0..10 {
            bench.world.wind(11 * SECOND).await;
        }
        bench.assert_in_order(1, 3);
        assert_eq!(bench.world.depth("q").await, [0; 4]);
    }
}

#[tokio::test]
async fn a_drain_in_an_outage_gives_back_what_the_lanes_hold_in_order() {
    for world in worlds() {
        let bench = Bench::on(world, 1);
        let bus = bench.start(ordered()).await;
        bench.down(true);
        bench.send(&bus, 3, 4).await;
        bench.world.wind(30 * SECOND).await;
        assert_eq!(at_once(bus.drain(60 * SECOND)).await.unwrap(), Drained::Clean);
        assert_eq!(bench.world.depth("q").await[1], 0);
        bench.down(false);
        let _next = bench.start(ordered()).await;
        for _ in 0..8 {
            bench.world.wind(11 * SECOND).await;
        }
        bench.assert_in_order(3, 4);
    }
}

#[tokio::test]
async fn a_batch_in_an_outage_is_not_halved_to_its_end_and_a_probe_is_of_one_message() {
    let bench = Bench::on(World::new(), 2);
    let endpoint = Endpoint::new("q").concurrency(1).retry(Retry::fixed(10 * SECOND).runs(2));
    let bus = bench.start(endpoint.batch(8, Duration::ZERO).handle_batch(charge_all)).await;
    bench.down(true);
    let pings: Vec<_> = (1..=8).map(|n| Ping { n }).collect();
    assert!(bus.send_all("q", &pings).await.iter().all(Result::is_ok));
    idle().await;
    let halves = ["1 2 3 4 5 6 7 8", "1 2 3 4", "1 2", "1", "2", "3 4", "3", "4"];
    assert_eq!(bench.log.take(), halves, "of which those of one message count");
    assert!(matches!(bench.breaker.state(), BreakerState::Open { .. }));
    assert_eq!(bench.world.depth("q").await, [4, 0, 4, 0], "those that were not alone go back");
    let charged = |peeked: Vec<tramline::core::operate::Peeked>| -> u32 {
        peeked.iter().map(|peeked| peeked.failures).sum()
    };
    assert_eq!(charged(bench.world.in_queue("q").await), 4);
    for _ in 0..5 {
        bench.world.wind(30 * SECOND).await;
        let run = bench.log.take();
        assert!(run.len() == 1 && !run[0].contains(' '), "{run:?}");
    }
    assert_eq!(charged(bench.world.in_queue("q").await), 4);
    bench.down(false);
    bench.world.wind(30 * SECOND).await;
    assert_eq!(bench.breaker.state(), BreakerState::Closed);
    bench.world.wind(33 * SECOND).await;
    assert_eq!(bench.world.depth("q").await, [0; 4]);
}

#[tokio::test]
async fn a_batch_that_waits_for_more_waits_no_longer_when_it_opens() {
    let bench = Bench::on(World::new(), 1);
    let endpoint = Endpoint::new("q").concurrency(1).batch(8, 60 * SECOND);
    let bus = bench.start(endpoint.handle_batch(charge_all)).await;
    bus.send("q", &Ping { n: 1 }).await.unwrap();
    idle().await;
    assert_eq!(bench.world.depth("q").await, [0, 1, 0, 0]);
    bench.trip().await;
    assert_eq!((bench.log.len(), bench.world.depth("q").await), (0, [1, 0, 0, 0]));
}
