//! With what a circuit breaker tries whether the dependency is back: who is tried, who is charged, and who stays.

use crate::breaking::Gateway;
use crate::kit::{Log, Ping, Rigged, SECOND, World, idle};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tramline::breaker::{BreakerState, CircuitBreakerBuilder};
use tramline::{
    Bus, CircuitBreaker, Endpoint, Failure, Item, Ordering, QueueName, RateLimit, Retry, State,
};

/// A number that fails whatever the gateway does.
const BAD: u64 = 13;

async fn charge(
    ping: Ping,
    State(gateway): State<Gateway>,
    State(log): State<Log>,
) -> Result<(), Failure> {
    log.add(ping.n.to_string());
    tokio::task::yield_now().await;
    if gateway.is_down.load(SeqCst) || ping.n == BAD {
        return Err(Failure::retryable("the gateway is down"));
    }
    Ok(())
}

async fn charge_all(
    items: Vec<Item<Ping>>,
    State(gateway): State<Gateway>,
    State(log): State<Log>,
) -> Result<(), Failure> {
    let numbers: Vec<_> = items.iter().map(|item| item.message.n.to_string()).collect();
    log.add(numbers.join(" "));
    let is_bad = items.iter().any(|item| item.message.n == BAD);
    match gateway.is_down.load(SeqCst) || is_bad {
        true => Err(Failure::retryable("the gateway is down")),
        false => Ok(()),
    }
}

struct Bench {
    world: World,
    rigged: Rigged,
    log: Log,
    gateway: Gateway,
}

impl Bench {
    fn on(world: World) -> Self {
        let rigged = world.rigged();
        rigged.rig.prefetches.store(true, SeqCst);
        Self { world, rigged, log: Log::default(), gateway: Gateway::default() }
    }

    fn new() -> Self {
        Self::on(World::new())
    }

    /// The bus keeps the order of keys.
    fn in_lanes() -> Self {
        Self::on(World::with(|options| options.without_key_lock()))
    }

    async fn start(&self, endpoints: impl IntoIterator<Item = Endpoint>) -> Bus {
        let bus = self.world.bus_on(self.rigged.clone()).state(self.log.clone());
        let bus = bus.state(self.gateway.clone());
        endpoints.into_iter().fold(bus, |bus, one| bus.endpoint(one)).start().await.unwrap()
    }

    fn down(&self, is_down: bool) {
        self.gateway.is_down.store(is_down, SeqCst);
    }

    async fn wind(&self, seconds: u32) {
        for _ in 0..seconds {
            self.world.wind(SECOND).await;
        }
    }
}

fn builder() -> CircuitBreakerBuilder {
    CircuitBreaker::named("gateway").calls_min(4).open_for(30 * SECOND)
}

fn endpoint(name: &str, breaker: &CircuitBreaker) -> Endpoint {
    Endpoint::new(name).retry(Retry::fixed(10 * SECOND).runs(3)).circuit_breaker(breaker)
}

async fn send(bus: &Bus, queue: &str, key: &str, numbers: impl IntoIterator<Item = u64>) {
    for n in numbers {
        bus.send(queue, &Ping { n }).key(key).await.unwrap();
    }
    idle().await;
}

async fn trip(breaker: &CircuitBreaker) {
    while breaker.state() == BreakerState::Closed {
        breaker.call(async { Err::<(), _>(Failure::retryable("down")) }).await.unwrap_err();
    }
    idle().await;
}

#[tokio::test]
async fn a_bad_message_at_the_head_of_an_order_is_charged_after_three_probes_and_makes_way() {
    for (bench, ordering) in [
        (Bench::in_lanes(), Ordering::PerKey),
        (Bench::new(), Ordering::PerKey),
        (Bench::new(), Ordering::PerQueue),
    ] {
        let breaker = builder().build();
        let endpoint = endpoint("q", &breaker).ordering(ordering).handle(charge);
        let bus = bench.start([endpoint]).await;
        trip(&breaker).await;
        send(&bus, "q", "a", [BAD, 14]).await;
        bench.wind(5 * 34).await;
        assert_eq!(bench.log.take(), ["13"; 5], "three are free, two are charged");
        bench.wind(2 * 34).await;
        assert_eq!(bench.log.take(), ["13", "14"], "the third is the last of its retries");
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert_eq!(bench.world.depth("q").await, [0, 0, 0, 1]);
    }
}

#[tokio::test]
async fn an_outage_charges_none_of_those_that_are_tried_where_there_is_no_order() {
    let (bench, breaker) = (Bench::new(), builder().build());
    let bus = bench.start([endpoint("q", &breaker).handle(charge)]).await;
    trip(&breaker).await;
    bench.down(true);
    send(&bus, "q", "a", [1]).await;
    for _ in 0..20 {
        bench.wind(34).await;
    }
    assert!(bench.log.take().len() >= 15);
    assert_eq!(bench.world.in_queue("q").await[0].failures, 0);
}

#[tokio::test]
async fn a_bad_message_among_others_that_succeed_is_charged_and_opens_nothing() {
    let (bench, breaker) = (Bench::new(), builder().probes(2).build());
    let bus = bench.start([endpoint("q", &breaker).concurrency(1).handle(charge)]).await;
    trip(&breaker).await;
    send(&bus, "q", "a", [1, BAD, 2]).await;
    bench.wind(30).await;
    assert_eq!(
        (bench.log.take(), breaker.state()),
        (vec!["1".into(), "13".into(), "2".into()], BreakerState::Closed)
    );
    assert_eq!(bench.world.in_queue("q").await[0].failures, 1);
}

#[tokio::test]
async fn heads_that_are_no_probes_stay_in_their_lanes() {
    for probes in [1, 2] {
        let (bench, breaker) = (Bench::in_lanes(), builder().probes(probes).build());
        let endpoint = endpoint("q", &breaker).ordering(Ordering::PerKey).concurrency(4);
        let bus = bench.start([endpoint.handle(charge)]).await;
        bench.down(true);
        for key in ["0", "1", "2", "3"] {
            bus.send("q", &Ping { n: key.parse().unwrap() }).key(key).await.unwrap();
        }
        idle().await;
        assert_eq!((bench.log.take().len(), breaker.figures().opened), (4, 1));
        for opened in 2..6 {
            bench.wind(30).await;
            assert_eq!(breaker.figures().opened, opened);
            assert_eq!(bench.log.take().len(), probes as usize);
            assert_eq!(bench.world.depth("q").await, [0, 4, 0, 0]);
        }
        assert_eq!(bench.rigged.rig.returned.len(), 0);
    }
}

#[tokio::test]
async fn who_has_no_probe_has_no_receiver_and_takes_nothing_to_give_it_back() {
    let (bench, breaker) = (Bench::new(), builder().build());
    let bus = bench.start(["q", "r"].map(|name| endpoint(name, &breaker).handle(charge))).await;
    trip(&breaker).await;
    bench.down(true);
    send(&bus, "q", "a", 0..20).await;
    send(&bus, "r", "a", 0..20).await;
    for cycle in 1..10 {
        bench.world.wind(30 * SECOND).await;
        assert_eq!(breaker.figures().opened, 1 + cycle);
        assert_eq!(bench.rigged.rig.receivers_made.load(SeqCst) as u64, 2 + cycle);
    }
    assert_eq!(bench.rigged.rig.returned.len(), 0);
}

#[tokio::test]
async fn an_endpoint_to_which_nothing_comes_keeps_out_neither_others_nor_calls() {
    for names in [["q", "r"], ["r", "q"]] {
        let (bench, breaker) = (Bench::new(), builder().build());
        let bus = bench.start(names.map(|name| endpoint(name, &breaker).handle(charge))).await;
        trip(&breaker).await;
        send(&bus, "r", "a", [1]).await;
        bench.wind(30).await;
        bench.wind(3).await;
        assert_eq!((bench.log.take(), breaker.state()), (vec!["1".into()], BreakerState::Closed));
        trip(&breaker).await;
        bench.wind(31).await;
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        breaker.call(async { Ok::<_, Failure>(()) }).await.unwrap();
        assert_eq!(breaker.state(), BreakerState::Closed);
        send(&bus, "q", "a", [2]).await;
        assert_eq!(bench.log.take(), ["2"]);
    }
}

#[test]
fn suspects_that_the_breaker_keeps_from_their_trial_keep_their_place() {
    let bench = Bench::in_lanes();
    // A copy would be behind what is behind it.
    bench.rigged.rig.copies.store(true, SeqCst);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    async fn hang(_: Ping) {
        std::future::pending().await
    }
    // As if two processes had died with all of them.
    for life in 0..2 {
        let dies = runtime();
        let _bus = dies.block_on(async {
            let endpoint = Endpoint::new("q").ordering(Ordering::PerKey).concurrency(4);
            let bus = bench.start([endpoint.handle(hang)]).await;
            for n in (0..6).filter(|_| life == 0) {
                bus.send("q", &Ping { n }).key((n % 3).to_string()).await.unwrap();
            }
            idle().await;
            bus
        });
        bench.world.memory.expire_leases(&QueueName::new("q").unwrap());
        drop(dies);
    }
    runtime().block_on(async {
        let breaker = builder().calls_min(1).build();
        bench.down(true);
        let endpoint = endpoint("q", &breaker).ordering(Ordering::PerKey).concurrency(4);
        let bus = bench.start([endpoint.handle(charge)]).await;
        idle().await;
        assert!(matches!(breaker.state(), BreakerState::Open { .. }));
        bench.down(false);
        bench.log.take();
        bench.wind(120).await;
        let lines = bench.log.take();
        for key in 0..3 {
            let of_key = lines.iter().filter(|line| line.parse::<u64>().unwrap() % 3 == key);
            let of_key: Vec<_> = of_key.map(|line| line.parse::<u64>().unwrap()).collect();
            assert_eq!(of_key, [key, key + 3], "{lines:?}");
        }
        assert_eq!(bench.world.depth("q").await, [0; 4]);
        drop(bus);
    });
}

#[tokio::test]
async fn one_bad_message_in_a_batch_opens_nothing() {
    let (bench, breaker) = (Bench::new(), builder().build());
    let endpoint = endpoint("q", &breaker).concurrency(1).batch(100, SECOND);
    let bus = bench.start([endpoint.handle_batch(charge_all)]).await;
    send(&bus, "q", "a", 0..100).await;
    assert!(bench.log.take().len() > 10);
    assert_eq!((breaker.state(), breaker.figures().failed), (BreakerState::Closed, 1));
    assert_eq!(bench.world.depth("q").await, [0, 0, 1, 0]);
}

#[tokio::test]
async fn a_bad_message_takes_no_others_of_its_batch_round_with_it() {
    for (bench, ordering) in [(Bench::new(), Ordering::None), (Bench::in_lanes(), Ordering::PerKey)]
    {
        let breaker = builder().probes(2).build();
        let endpoint = endpoint("q", &breaker).ordering(ordering).batch(8, Duration::ZERO);
        let bus = bench.start([endpoint.handle_batch(charge_all)]).await;
        bench.down(true);
        for n in [BAD, 1, 2, 3, 4, 5] {
            bus.send("q", &Ping { n }).key(n.to_string()).await.unwrap();
        }
        idle().await;
        assert!(matches!(breaker.state(), BreakerState::Open { .. }));
        bench.log.take();
        bench.down(false);
        while breaker.state() != BreakerState::Closed {
            let runs = bench.log.take();
            assert!(runs.iter().all(|run| !run.contains(' ')), "{runs:?}");
            assert!(breaker.figures().opened < 4);
            bench.wind(1).await;
        }
        for _ in 0..10 {
            bench.wind(11).await;
        }
        assert_eq!(bench.world.depth("q").await, [0, 0, 0, 1]);
    }
}

#[tokio::test]
async fn what_would_hold_an_ordered_queue_for_too_long_is_refused_at_the_start() {
    let (bench, breaker) = (Bench::in_lanes(), builder().build());
    *bench.rigged.rig.hold_max.lock() = Some(20 * 60 * SECOND);
    let ordered = |name| endpoint(name, &breaker).ordering(Ordering::PerKey);
    let slow = ordered("slow").rate_limit_per_key(RateLimit::per_minute(1)).prefetch(10);
    let many = ordered("many").retry(Retry::fixed(SECOND).runs(50));
    let fine = ordered("fine").rate_limit_per_key(RateLimit::per_minute(2)).prefetch(10);
    let bus = bench.world.bus_on(bench.rigged.clone()).state(bench.log.clone());
    let bus = bus.state(bench.gateway.clone());
    let bus = [slow, many, fine].into_iter().fold(bus, |bus, one| bus.endpoint(one.handle(charge)));
    let said = bus.start().await.unwrap_err().to_string();
    for words in [
        "endpoint slow: a message with which its circuit breaker tries may wait 60s for the rate of its key",
        "endpoint many: its pauses may hold a message of its ordered queue for 1765s",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    assert!(!said.contains("endpoint fine") && !said.contains("endpoint slow: its"), "{said}");
}

/// What a broker would send it could only go back, again and again, until it looks like a killer.
#[tokio::test]
async fn who_has_no_slot_does_not_try_and_others_do() {
    let bench = Bench::new();
    let breaker = builder().build();
    let hangs = endpoint("hangs", &breaker).concurrency(1).handle(
        async |ping: Ping, State(log): State<Log>| {
            log.add(format!("{} hangs", ping.n));
            std::future::pending::<()>().await;
        },
    );
    let bus = bench.start([hangs, endpoint("q", &breaker).handle(charge)]).await;
    send(&bus, "hangs", "a", [1, 2, 3]).await;
    trip(&breaker).await;
    bench.down(true);
    bench.wind(35).await;
    send(&bus, "q", "a", [7]).await;
    assert_eq!(bench.log.take(), ["1 hangs", "7"], "at once, whoever waits for a slot");
    let returned = bench.rigged.rig.log.lines().iter().filter(|line| *line == "return").count();
    bench.wind(70).await;
    let now = bench.rigged.rig.log.lines().iter().filter(|line| *line == "return").count();
    assert_eq!(returned, now, "what has no slot stays in its queue");
}
