//! Clocks that are set back keep neither a breaker open nor a rate waiting for as long.

use crate::kit::{Log, Ping, SECOND, WallClock, World, idle};
use std::time::Duration;
use tramline::breaker::BreakerState;
use tramline::{Bus, CircuitBreaker, Endpoint, Failure, Ordering, RateLimit, Retry, State};

const LONG: Duration = Duration::from_secs(15 * 60);

async fn note(ping: Ping, State(log): State<Log>) {
    log.add(ping.n.to_string());
}

async fn start(world: &World, endpoint: Endpoint) -> (Bus, WallClock, Log) {
    let (clock, log) = (WallClock::of(&world.clock), Log::default());
    let bus = world.bus().clock(clock.clone()).state(log.clone());
    (bus.endpoint(endpoint.handle(note)).start().await.unwrap(), clock, log)
}

async fn send(bus: &Bus, numbers: impl IntoIterator<Item = u64>) {
    for n in numbers {
        bus.send("q", &Ping { n }).key("a").await.unwrap();
    }
    idle().await;
}

#[tokio::test]
async fn a_breaker_tries_again_after_its_time_and_has_opened_once() {
    let world = World::new();
    let breaker = CircuitBreaker::named("gateway").calls_min(1).open_for(30 * SECOND).build();
    let (bus, clock, log) = start(&world, Endpoint::new("q").circuit_breaker(&breaker)).await;
    let _failed = breaker.call(async { Err::<(), _>(Failure::retryable("down")) }).await;
    send(&bus, [1]).await;
    world.wind(10 * SECOND).await;
    clock.set_back(LONG);
    for _ in 0..5 {
        world.wind(10 * SECOND).await;
    }
    assert_eq!((log.take(), breaker.state()), (vec!["1".to_owned()], BreakerState::Closed));
    assert_eq!(breaker.figures().opened, 1);
}

#[tokio::test]
async fn that_somebody_looks_at_a_breaker_meanwhile_does_not_open_it_again() {
    let world = World::new();
    let clock = WallClock::of(&world.clock);
    let breaker = CircuitBreaker::named("gateway").calls_min(1).clock(clock.clone()).build();
    let _failed = breaker.call(async { Err::<(), _>(Failure::retryable("down")) }).await;
    for _ in 0..3 {
        clock.set_back(LONG);
        assert!(matches!(breaker.state(), BreakerState::Open { .. }));
    }
    assert_eq!(breaker.figures().opened, 1);
}

#[tokio::test]
async fn what_pauses_in_its_lane_pauses_for_no_longer() {
    let world = World::with(|options| options.without_key_lock());
    let endpoint = Endpoint::new("q").ordering(Ordering::PerKey);
    let retry = Retry::fixed(30 * SECOND).runs(3);
    let endpoint = endpoint.retry(retry).handle(async |ping: Ping, State(log): State<Log>| {
        log.add(ping.n.to_string());
        Err::<(), _>(Failure::retryable("not yet"))
    });
    let (clock, log) = (WallClock::of(&world.clock), Log::default());
    let bus = world.bus().clock(clock.clone()).state(log.clone()).endpoint(endpoint);
    let bus = bus.start().await.unwrap();
    send(&bus, [1]).await;
    world.wind(10 * SECOND).await;
    clock.set_back(LONG);
    world.wind(20 * SECOND).await;
    assert_eq!(log.take(), ["1", "1"]);
}

#[tokio::test]
async fn a_rate_waits_for_no_more_than_one_period() {
    let rate = RateLimit::per_minute(1).burst(1);
    for endpoint in
        [Endpoint::new("q").rate_limit(rate), Endpoint::new("q").rate_limit_per_key(rate)]
    {
        let world = World::new();
        let (bus, clock, log) = start(&world, endpoint).await;
        send(&bus, 1..4).await;
        world.wind(30 * SECOND).await;
        assert_eq!(log.take(), ["1"]);
        clock.set_back(LONG);
        world.wind(30 * SECOND).await;
        assert_eq!(log.take(), ["2"]);
        world.wind(59 * SECOND).await;
        assert_eq!(log.take().len(), 0, "there still is a rate");
        world.wind(SECOND).await;
        assert_eq!(log.take(), ["3"]);
    }
}
