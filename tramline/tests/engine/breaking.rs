//! Circuit breakers: an outage pauses the receiver, and burns nobody's retries.

use crate::kit::{Counters, Log, Ping, Rigged, SECOND, World, at_once, idle};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use tokio::sync::Semaphore;
use tramline::breaker::{BreakerState, CircuitBreakerBuilder};
use tramline::core::capabilities::Support;
use tramline::core::clock::Clock;
use tramline::core::transport::Transport;
use tramline::{
    Bus, CircuitBreaker, Drained, Endpoint, Failure, QueueName, QueueSpec, Retry, State,
};

/// What the handlers depend on.
#[derive(Clone, Default)]
pub(crate) struct Gateway {
    pub(crate) is_down: Arc<AtomicBool>,
}

/// Handlers of numbers from 300 on wait here, before they ask the gateway.
#[derive(Clone)]
struct Gate(Arc<Semaphore>);

/// A number that fails whatever the gateway does.
const BAD: u64 = 13;

async fn charge(
    ping: Ping,
    State(gateway): State<Gateway>,
    State(gate): State<Gate>,
    State(log): State<Log>,
) -> Result<(), Failure> {
    log.add(ping.n.to_string());
    if ping.n >= 300 {
        gate.0.acquire().await?.forget();
    }
    if gateway.is_down.load(SeqCst) || ping.n == BAD {
        return Err(Failure::retryable("the gateway is down"));
    }
    Ok(())
}

struct Bench {
    world: World,
    rigged: Rigged,
    log: Log,
    gateway: Gateway,
    gate: Gate,
}

impl Bench {
    fn new() -> Self {
        let world = World::new();
        let (rigged, gate) = (world.rigged(), Gate(Arc::new(Semaphore::new(0))));
        rigged.rig.prefetches.store(true, SeqCst);
        Self { world, rigged, log: Log::default(), gateway: Gateway::default(), gate }
    }

    async fn start(&self, endpoints: impl IntoIterator<Item = Endpoint>) -> Bus {
        let bus = self.world.bus_on(self.rigged.clone()).state(self.log.clone());
        let bus = bus.state(self.gateway.clone()).state(self.gate.clone());
        endpoints.into_iter().fold(bus, |bus, one| bus.endpoint(one)).start().await.unwrap()
    }

    fn down(&self, is_down: bool) {
        self.gateway.is_down.store(is_down, SeqCst);
    }

    async fn failures(&self) -> Vec<u32> {
        self.world.in_queue("q").await.iter().map(|peeked| peeked.failures).collect()
    }

    /// Open for 30 seconds from now on.
    fn open(&self) -> BreakerState {
        BreakerState::Open { until: self.world.clock.now().after(30 * SECOND) }
    }
}

fn builder() -> CircuitBreakerBuilder {
    CircuitBreaker::named("gateway").window(60 * SECOND).calls_min(4).open_for(30 * SECOND)
}

fn endpoint(name: &str, breaker: &CircuitBreaker) -> Endpoint {
    let endpoint = Endpoint::new(name).concurrency(1).retry(Retry::fixed(10 * SECOND).runs(5));
    endpoint.circuit_breaker(breaker)
}

async fn send(bus: &Bus, queue: &str, numbers: impl IntoIterator<Item = u64>) {
    for n in numbers {
        bus.send(queue, &Ping { n }).await.unwrap();
    }
    idle().await;
}

#[tokio::test]
async fn an_outage_pauses_the_receiver_and_what_was_taken_goes_back_uncharged() {
    let (bench, breaker) = (Bench::new(), builder().build());
    let bus = bench.start([endpoint("q", &breaker).handle(charge)]).await;
    bench.down(true);
    for n in 300..310 {
        bus.send("q", &Ping { n }).await.unwrap();
    }
    idle().await;
    assert_eq!(bench.log.take(), ["300"], "one is at work, and others wait in the receiver");
    bench.gate.0.add_permits(100);
    idle().await;
    assert_eq!(bench.log.take(), ["301", "302", "303"], "enough to know");
    assert_eq!(breaker.state(), bench.open());
    assert_eq!(bench.world.depth("q").await, [6, 0, 4, 0], "nothing is held");
    let mut failures = bench.failures().await;
    failures.sort();
    assert_eq!(failures, [0, 0, 0, 0, 0, 0, 1, 1, 1, 1]);
    bench.world.wind(29 * SECOND).await;
    assert_eq!(bench.log.len(), 0);
    assert_eq!(bench.world.depth("q").await, [10, 0, 0, 0], "others could have them");
    assert_eq!(bench.rigged.rig.receivers_made.load(SeqCst), 1);
}

#[tokio::test]
async fn when_it_is_over_one_is_tried_uncharged_and_if_it_succeeds_all_go_on() {
    let (bench, told) = (Bench::new(), Log::default());
    let (breaker, tells) = (builder().build(), told.clone());
    let endpoint = endpoint("q", &breaker)
        .on_failure(move |report| tells.add(report.attempt.to_string()))
        .handle(charge);
    let bus = bench.start([endpoint]).await;
    bench.down(true);
    send(&bus, "q", 0..10).await;
    assert_eq!((bench.log.take().len(), told.take().len()), (4, 4));
    for _ in 0..20 {
        bench.world.wind(30 * SECOND).await;
        assert_eq!(bench.log.take().len(), 1, "one and no more");
        assert_eq!(told.take().len(), 1, "its failure is told of");
        assert_eq!(breaker.state(), bench.open());
    }
    let failures: u32 = bench.failures().await.iter().sum();
    assert_eq!(failures, 4, "a long outage charges nobody");
    bench.down(false);
    bench.world.wind(30 * SECOND).await;
    assert_eq!(breaker.state(), BreakerState::Closed);
    bench.world.wind(10 * SECOND).await;
    assert_eq!((bench.log.len(), bench.world.depth("q").await), (10, [0; 4]));
}

#[tokio::test]
async fn a_probe_that_failed_comes_back_when_others_were_tried() {
    let (bench, breaker) = (Bench::new(), builder().build());
    let retry = Retry::fixed(10 * SECOND).runs(2);
    let bus = bench.start([endpoint("q", &breaker).retry(retry).handle(charge)]).await;
    trip(&breaker).await;
    send(&bus, "q", [BAD]).await;
    bench.world.wind(30 * SECOND).await;
    assert_eq!((bench.log.take(), breaker.state()), (vec![BAD.to_string()], bench.open()));
    // It fails for its own sake, and was there before the others.
    send(&bus, "q", [14, 15]).await;
    bench.world.wind(30 * SECOND).await;
    assert_eq!(
        (bench.log.take(), breaker.state()),
        (vec!["14".into(), "15".into()], BreakerState::Closed)
    );
    for _ in 0..10 {
        bench.world.wind(10 * SECOND).await;
    }
    assert_eq!(bench.world.depth("q").await, [0, 0, 0, 1], "its own retries come to their end");
}

#[tokio::test]
async fn no_more_are_taken_than_there_are_probes_until_all_of_them_have_succeeded() {
    let (bench, breaker) = (Bench::new(), builder().probes(2).build());
    let bus = bench.start([endpoint("q", &breaker).concurrency(8).handle(charge)]).await;
    bench.down(true);
    bench.gate.0.add_permits(4);
    send(&bus, "q", 300..304).await;
    assert_eq!(breaker.state(), bench.open());
    bench.down(false);
    send(&bus, "q", 304..310).await;
    bench.log.take();
    bench.world.wind(30 * SECOND).await;
    assert_eq!((breaker.state(), bench.log.take().len()), (BreakerState::HalfOpen, 2));
    assert_eq!(bench.world.depth("q").await, [8, 2, 0, 0]);
    bench.gate.0.add_permits(1);
    idle().await;
    assert_eq!((breaker.state(), bench.log.take().len()), (BreakerState::HalfOpen, 1));
    assert_eq!(bench.world.depth("q").await, [7, 2, 0, 0]);
    bench.gate.0.add_permits(1);
    idle().await;
    assert_eq!((breaker.state(), bench.log.take().len()), (BreakerState::Closed, 7));
    assert_eq!(bench.world.depth("q").await, [0, 8, 0, 0]);
}

#[tokio::test]
async fn one_probe_that_fails_opens_it_again_whatever_the_others_do() {
    let (bench, breaker) = (Bench::new(), builder().probes(2).build());
    let bus = bench.start([endpoint("q", &breaker).concurrency(8).handle(charge)]).await;
    trip(&breaker).await;
    send(&bus, "q", 300..304).await;
    bench.down(true);
    bench.world.wind(30 * SECOND).await;
    assert_eq!(bench.log.take(), ["300", "301"]);
    bench.gate.0.add_permits(1);
    idle().await;
    assert_eq!(breaker.state(), bench.open());
    assert_eq!(bench.world.depth("q").await, [2, 1, 1, 0], "what runs goes on");
    bench.down(false);
    bench.gate.0.add_permits(1);
    idle().await;
    assert_eq!(breaker.state(), bench.open(), "what began before says nothing new");
    assert_eq!((bench.world.depth("q").await, bench.failures().await), ([2, 0, 1, 0], vec![0; 3]));
}

#[tokio::test]
async fn a_pause_in_place_ends_when_it_opens() {
    let (bench, breaker) = (Bench::new(), builder().calls_min(2).build());
    let retry = Retry::fixed(SECOND / 2).runs(5);
    let endpoint = endpoint("q", &breaker).retry(retry).concurrency(8).handle(charge);
    let bus = bench.start([endpoint]).await;
    bench.down(true);
    send(&bus, "q", [1]).await;
    assert_eq!(bench.world.depth("q").await, [0, 1, 0, 0], "it pauses in its slot");
    send(&bus, "q", [2]).await;
    assert_eq!(breaker.state(), bench.open());
    assert_eq!(bench.world.depth("q").await, [0, 0, 2, 0]);
    assert_eq!(bench.failures().await, [1, 1], "for what has really failed");
    bench.world.wind(29 * SECOND).await;
    assert_eq!(bench.log.len(), 2);
}

#[tokio::test]
async fn runs_that_are_repeated_at_once_end_when_it_opens() {
    let (bench, breaker) = (Bench::new(), builder().build());
    let endpoint = endpoint("q", &breaker).retry(Retry::immediate(50)).handle(charge);
    let bus = bench.start([endpoint]).await;
    bench.down(true);
    send(&bus, "q", [1]).await;
    assert_eq!((bench.log.len(), bench.failures().await), (4, vec![4]));
}

#[tokio::test]
async fn time_limits_and_panics_count_and_permanent_failures_do_not() {
    async fn act(ping: Ping) -> Result<(), Failure> {
        match ping.n {
            0 => Err(Failure::permanent("a bad message")),
            1 => panic!("no gateway"),
            _ => std::future::pending().await,
        }
    }
    let (bench, breaker) = (Bench::new(), builder().build());
    let endpoint = endpoint("q", &breaker).concurrency(8).time_limit(SECOND).handle(act);
    let bus = bench.start([endpoint]).await;
    send(&bus, "q", [0; 10]).await;
    assert_eq!((breaker.figures().calls, bench.world.depth("q").await[3]), (0, 10));
    send(&bus, "q", [1, 1, 2]).await;
    assert_eq!((breaker.figures().calls, breaker.figures().failed), (2, 2));
    bench.world.wind(SECOND).await;
    let figures = breaker.figures();
    assert_eq!((figures.calls, figures.failed, figures.failure_rate()), (3, 3, 1.0));
    assert_eq!(figures.state, BreakerState::Closed);
    send(&bus, "q", [1]).await;
    assert_eq!(breaker.state(), bench.open());
}

#[tokio::test]
async fn what_counts_can_be_said_and_a_probe_that_no_retry_can_mend_is_no_probe_for_ever() {
    async fn act(ping: Ping, State(log): State<Log>) -> Result<(), Failure> {
        log.add(ping.n.to_string());
        match ping.n {
            0 => Err(Failure::retryable("busy")),
            _ => Err(Failure::permanent("down")),
        }
    }
    let bench = Bench::new();
    let breaker = builder().counts(|failure| failure.to_string() == "down").build();
    let bus = bench.start([endpoint("q", &breaker).handle(act)]).await;
    send(&bus, "q", [0; 5]).await;
    assert_eq!(breaker.figures().calls, 0);
    send(&bus, "q", [1; 5]).await;
    assert_eq!((breaker.state(), bench.world.depth("q").await[3]), (bench.open(), 4));
    // As others are tried as well, at some time it is the last one's turn.
    for _ in 0..20 {
        bench.world.wind(30 * SECOND).await;
    }
    assert_eq!(bench.world.depth("q").await[3], 10);
}

/// Opens it, without any message.
async fn trip(breaker: &CircuitBreaker) {
    while breaker.state() == BreakerState::Closed {
        breaker.call(async { Err::<(), _>(Failure::retryable("down")) }).await.unwrap_err();
    }
    idle().await;
}

#[tokio::test]
async fn one_breaker_pauses_all_its_endpoints_and_they_share_its_probes() {
    let (bench, breaker) = (Bench::new(), builder().build());
    let [a, b] = ["q", "r"].map(|name| endpoint(name, &breaker).concurrency(4).handle(charge));
    let bus = bench.start([a, b]).await;
    trip(&breaker).await;
    send(&bus, "q", 300..305).await;
    send(&bus, "r", 310..315).await;
    assert_eq!(
        (bench.world.depth("q").await, bench.world.depth("r").await),
        ([5, 0, 0, 0], [5, 0, 0, 0])
    );
    bench.world.wind(30 * SECOND).await;
    assert_eq!((bench.log.len(), breaker.state()), (1, BreakerState::HalfOpen));
    let (q, r) = (bench.world.depth("q").await, bench.world.depth("r").await);
    assert_eq!(q[1] + r[1], 1, "who has no probe holds no message: {q:?} {r:?}");
    let returned = bench.rigged.rig.returned.len();
    bench.world.wind(SECOND).await;
    assert_eq!(bench.rigged.rig.returned.len(), returned, "nor takes any to give them back");
    bench.gate.0.add_permits(100);
    idle().await;
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!((bench.world.depth("q").await, bench.world.depth("r").await), ([0; 4], [0; 4]));
}

#[tokio::test]
async fn who_starts_with_a_breaker_that_is_not_closed_takes_no_more_than_it_lets_through() {
    let (bench, breaker) = (Bench::new(), builder().build());
    let endpoint = || endpoint("q", &breaker).concurrency(4).handle(charge);
    let bus = bench.start([endpoint()]).await;
    trip(&breaker).await;
    send(&bus, "q", 300..305).await;
    let _ = at_once(bus.drain(SECOND)).await.unwrap();
    let bus = bench.start([endpoint()]).await;
    idle().await;
    assert_eq!(bench.world.depth("q").await, [5, 0, 0, 0]);
    let _ = at_once(bus.drain(SECOND)).await.unwrap();
    bench.world.wind(30 * SECOND).await;
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    let _bus = bench.start([endpoint()]).await;
    idle().await;
    assert_eq!((bench.log.len(), bench.world.depth("q").await), (1, [4, 1, 0, 0]));
}

#[tokio::test]
async fn a_drain_ends_at_once_while_it_is_open_and_waits_for_no_more_than_the_probes_after() {
    let (bench, breaker) = (Bench::new(), builder().build());
    let bus = bench.start([endpoint("q", &breaker).handle(charge)]).await;
    trip(&breaker).await;
    send(&bus, "q", 300..305).await;
    assert_eq!(at_once(bus.drain(60 * SECOND)).await.unwrap(), Drained::Clean);

    let bus = bench.start([endpoint("q", &breaker).handle(charge)]).await;
    bench.world.wind(30 * SECOND).await;
    assert_eq!((breaker.state(), bench.log.take().len()), (BreakerState::HalfOpen, 1));
    let drain = tokio::spawn(async move { bus.drain(60 * SECOND).await.unwrap() });
    idle().await;
    assert!(!drain.is_finished());
    bench.gate.0.add_permits(1);
    idle().await;
    assert_eq!((drain.is_finished(), bench.log.len()), (true, 0));
    assert_eq!(bench.world.depth("q").await, [4, 0, 0, 0]);
}

#[tokio::test]
async fn a_probe_whose_lease_is_lost_gives_its_place_to_the_next() {
    let (bench, breaker) = (Bench::new(), builder().build());
    let bus = bench.start([endpoint("q", &breaker).retry(Retry::none()).handle(charge)]).await;
    bench.down(true);
    send(&bus, "q", 1..5).await;
    send(&bus, "q", 300..302).await;
    bench.down(false);
    bench.world.wind(30 * SECOND).await;
    bench.log.take();
    bench.world.memory.expire_leases(&QueueName::new("q").unwrap());
    bench.world.wind(SECOND).await;
    assert_eq!((bench.log.take().len(), breaker.state()), (1, BreakerState::HalfOpen));
    bench.gate.0.add_permits(10);
    idle().await;
    assert_eq!(breaker.state(), BreakerState::Closed);
    assert_eq!(bench.world.depth("q").await, [0, 0, 0, 4]);
}

#[tokio::test]
async fn a_probe_that_says_nothing_gives_its_place_to_the_next() {
    async fn act(ping: Ping, State(gate): State<Gate>) -> Result<(), Failure> {
        gate.0.acquire().await?.forget();
        if ping.n < 3 { Err(Failure::permanent("a bad message")) } else { Ok(()) }
    }
    let (bench, breaker) = (Bench::new(), builder().build());
    let bus = bench.start(["q", "r"].map(|name| endpoint(name, &breaker).handle(act))).await;
    trip(&breaker).await;
    send(&bus, "q", [0]).await;
    bench.world.wind(30 * SECOND).await;
    send(&bus, "r", [5]).await;
    assert_eq!(bench.world.depth("q").await, [0, 1, 0, 0]);
    assert_eq!(bench.world.depth("r").await, [1, 0, 0, 0], "there is no place for it");
    bench.gate.0.add_permits(2);
    idle().await;
    assert_eq!(
        (bench.world.depth("q").await, bench.world.depth("r").await),
        ([0, 0, 0, 1], [0; 4])
    );
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test]
async fn that_it_opened_is_counted() {
    let counters = Counters::default();
    let _local = metrics::set_default_local_recorder(&counters);
    let (bench, breaker) = (Bench::new(), builder().build());
    let bus = bench.start([endpoint("q", &breaker).handle(charge)]).await;
    bench.down(true);
    send(&bus, "q", 1..10).await;
    bench.world.wind(30 * SECOND).await;
    assert_eq!(counters.get("tramline_breaker_opened_total breaker=gateway"), 2);
    let handled =
        |outcome| counters.get(&format!("tramline_handled_total endpoint=q outcome={outcome}"));
    assert_eq!((handled("failed"), handled("succeeded")), (5, 0), "a probe that fails has failed");
}

#[tokio::test]
async fn everything_that_is_wrong_with_it_is_said_at_the_start() {
    let world = World::new();
    let nothing = std::time::Duration::ZERO;
    let bad = CircuitBreaker::named("").window(nothing).open_for(nothing).calls_min(0).probes(0);
    let rates = [0.0, -1.0, 1.5, f64::NAN].map(|rate| builder().failure_rate(rate).build());
    let bus = world.bus().endpoint(endpoint("q", &bad.build()).handle(charge));
    let bus = rates.iter().enumerate().fold(bus, |bus, (n, breaker)| {
        bus.endpoint(endpoint(&format!("r{n}"), breaker).handle(|_: Ping| async {}))
    });
    let said = bus.start().await.unwrap_err().to_string();
    for words in [
        "endpoint q: circuit breaker ``: it has no name",
        "endpoint q: circuit breaker ``: with a window of 0 it forgets every call at once",
        "endpoint q: circuit breaker ``: with a minimum of 0 calls it would open before any",
        "endpoint q: circuit breaker ``: it would stay open for no time at all",
        "endpoint q: circuit breaker ``: with 0 probes it would never close again",
        "endpoint r0: circuit breaker `gateway`: a failure rate of 0 is not above 0 and at most 1",
        "a failure rate of -1 is",
        "a failure rate of 1.5 is",
        "a failure rate of NaN is",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
}

#[tokio::test]
async fn a_transport_that_cannot_delay_for_so_long_is_refused() {
    let bench = Bench::new();
    bench.rigged.rig.copies.store(true, SeqCst);
    *bench.rigged.rig.delay_max.lock() = Some(20 * SECOND);
    assert_ne!(
        bench.rigged.capabilities(&QueueSpec::new(QueueName::new("q").unwrap())).delayed_retry,
        Support::Native
    );
    let bus = bench.world.bus_on(bench.rigged.clone());
    let endpoint = endpoint("q", &builder().build()).handle(|_: Ping| async {});
    let said = bus.endpoint(endpoint).start().await.unwrap_err().to_string();
    assert!(said.contains("its circuit breaker sends messages away for 33s"), "{said}");
}

#[tokio::test]
async fn around_any_call_it_refuses_at_once_while_it_is_open() {
    let clock = World::new().clock;
    let breaker = builder().clock(clock.clone()).build();
    let fail = || async { Err::<(), _>(Failure::retryable("down")) };
    {
        let mut dropped =
            std::pin::pin!(breaker.call(std::future::pending::<Result<(), Failure>>()));
        assert!(futures_util::FutureExt::now_or_never(dropped.as_mut()).is_none());
    }
    assert_eq!(breaker.figures().calls, 0, "what is dropped says nothing");
    for _ in 0..3 {
        assert_eq!(breaker.call(fail()).await.unwrap_err().to_string(), "down");
    }
    let panics = breaker.clone();
    let call = async move { panics.call(async { explode() }).await };
    assert!(tokio::spawn(call).await.is_err(), "a panic goes on");
    let refused = breaker.call(async { Ok::<_, Failure>(7) }).await.unwrap_err();
    assert!(!refused.is_permanent());
    assert!(refused.to_string().contains("its circuit breaker is open"), "{refused}");
    clock.advance(30 * SECOND);
    assert_eq!(breaker.call(async { Ok::<_, Failure>(7) }).await.unwrap(), 7);
    assert_eq!(breaker.state(), BreakerState::Closed);
    let bad = CircuitBreaker::named("bad").probes(0).build();
    assert!(bad.call(fail()).await.unwrap_err().is_permanent());
}

fn explode() -> Result<(), Failure> {
    panic!("in a call")
}
