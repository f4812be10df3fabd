//! Protected endpoints in an outage, while processes die at any await and calls fail: nothing is lost, nothing
//! stalls, and order by key holds.

use crate::messages::Order;
use std::sync::Arc;
use std::time::Duration;
use tramline::core::clock::{Clock, ManualClock, Timestamp};
use tramline::testing::{Aftermath, Life, Scenario, Simulation};
use tramline::{
    BusBuilder, CircuitBreaker, Endpoint, Envelope, Failure, Memory, Ordering, RateLimit, Retry,
    State, Tx,
};

const SECOND: Duration = Duration::from_secs(1);
/// How many messages there are, of three keys in turn.
const MESSAGES: u64 = 9;

/// When the outage ends.
#[derive(Clone)]
struct Outage(ManualClock, Timestamp);

/// Writes down which order came, under its key, unless there is an outage.
async fn append(
    order: Order,
    envelope: Arc<Envelope>,
    tx: Tx<Memory>,
    State(Outage(clock, end)): State<Outage>,
) -> Result<(), Failure> {
    tokio::task::yield_now().await;
    if clock.now() < end {
        return Err(Failure::retryable("the gateway is down"));
    }
    let key = envelope.key.clone().unwrap_or_default();
    tx.write(move |db| {
        let mut handled = db.get::<Vec<u64>>(&key).unwrap_or_default();
        handled.push(order.n);
        db.put(key.clone(), handled);
        Ok(())
    })
}

fn build(ordering: Ordering) -> impl Fn(&Life) -> BusBuilder + Clone + Send + Sync + 'static {
    move |life: &Life| {
        let breaker = CircuitBreaker::named("gateway").calls_min(2).open_for(3 * SECOND);
        let endpoint = Endpoint::new("q")
            .transactional()
            .ordering(ordering)
            .concurrency(3)
            .prefetch(4)
            .retry(Retry::fixed(SECOND).runs(1000))
            .circuit_breaker(&breaker.probes(2).build())
            .rate_limit(RateLimit::per_second(4))
            .rate_limit_per_key(RateLimit::per_second(2).burst(1))
            .concurrency_per_key(1)
            .handle(append);
        let end = Timestamp::from_millis(life.clock().now().as_millis() / 10_000 * 10_000 + 7_000);
        let bus = life.bus().state(Outage(life.clock().clone(), end));
        bus.store(life.store()).endpoint(endpoint)
    }
}

fn handled(after: &Aftermath) -> Vec<Vec<u64>> {
    after.read(|db| db.entries::<Vec<u64>>().into_iter().map(|(_, handled)| handled).collect())
}

fn scenario(scenario: Scenario, ordering: Ordering) -> Scenario {
    let scenario = (0..MESSAGES).fold(scenario, |scenario, n| {
        scenario.send_with("q", Order { n }, move |draft| draft.key((n % 3).to_string()))
    });
    let scenario = scenario.finally("each is handled once", |after| {
        let mut all = handled(after).concat();
        all.sort_unstable();
        match all == (0..MESSAGES).collect::<Vec<_>>() {
            true => Ok(()),
            false => Err(format!("{all:?}")),
        }
    });
    if ordering == Ordering::None {
        return scenario;
    }
    scenario.always("order by key holds", |after| {
        match handled(after).iter().find(|key| !key.is_sorted()) {
            Some(key) => Err(format!("{key:?}")),
            None => Ok(()),
        }
    })
}

#[test]
fn protected_endpoints_lose_nothing_stall_nowhere_and_keep_their_order_while_processes_die() {
    for ordering in [Ordering::None, Ordering::PerKey] {
        let build = build(ordering);
        let simulation = Simulation::of(move |_| {
            scenario(Scenario::new(build.clone()).process(build.clone()), ordering)
        });
        simulation.seeds(0..200).run().unwrap();
    }
}

#[test]
fn so_do_those_whose_order_the_bus_keeps() {
    let simulation = Simulation::of(|_| {
        let one =
            Scenario::new(build(Ordering::PerKey)).memory(|options| options.without_key_lock());
        scenario(one, Ordering::PerKey)
    });
    simulation.seeds(0..200).run().unwrap();
}
