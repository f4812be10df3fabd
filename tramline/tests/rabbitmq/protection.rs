//! Breakers and limits over a real broker, whose consumers stop and start again with them.

use crate::orders::cut;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::timeout;
use tramline::{
    Bus, CircuitBreaker, Endpoint, Failure, Message, Ordering, RateLimit, Retry, State,
};
use tramline_services::testing::{PATIENCE, Vhost};

#[derive(Serialize, Deserialize)]
struct Charge {
    key: u64,
    n: u64,
}
impl Message for Charge {
    const NAME: &'static str = "charge";
}

/// What the handlers depend on, and what it has seen.
#[derive(Default)]
struct Gateway {
    is_down: AtomicBool,
    refused: AtomicU64,
    charged: Mutex<Vec<(u64, u64)>>,
    /// Keys that are being charged.
    within: Mutex<HashSet<u64>>,
    overlapped: AtomicBool,
    changed: Notify,
}

impl Gateway {
    async fn until(&self, what: impl Fn(&Self) -> bool) {
        let changed = async {
            while !what(self) {
                // Others may have changed it between the look and the wait: look again soon.
                let _changed = timeout(Duration::from_millis(50), self.changed.notified()).await;
            }
        };
        let told = || format!("{} charged, {:?} refused", self.charged.lock().len(), self.refused);
        timeout(PATIENCE, changed).await.unwrap_or_else(|_| panic!("{}", told()));
    }

    fn distinct(&self) -> usize {
        self.distinct_but(u64::MAX)
    }

    /// How many were charged of keys other than `key`, each counted once.
    fn distinct_but(&self, key: u64) -> usize {
        let charged = self.charged.lock();
        charged.iter().filter(|(of, _)| *of != key).collect::<HashSet<_>>().len()
    }
}

async fn charge(charge: Charge, State(gateway): State<Arc<Gateway>>) -> Result<(), Failure> {
    if !gateway.within.lock().insert(charge.key) {
        gateway.overlapped.store(true, SeqCst);
    }
    tokio::time::sleep(Duration::from_millis(1)).await; // the call
    gateway.within.lock().remove(&charge.key);
    if gateway.is_down.load(SeqCst) {
        gateway.refused.fetch_add(1, SeqCst);
        gateway.changed.notify_waiters();
        return Err(Failure::retryable("the gateway is down"));
    }
    gateway.charged.lock().push((charge.key, charge.n));
    gateway.changed.notify_waiters();
    Ok(())
}

fn breaker() -> CircuitBreaker {
    let breaker = CircuitBreaker::named("gateway").calls_min(4);
    breaker.open_for(Duration::from_millis(100)).build()
}

async fn start(vhost: &Vhost, endpoint: Endpoint, gateway: &Arc<Gateway>) -> Bus {
    let bus = Bus::connect(vhost.url.as_str()).await.unwrap().state(gateway.clone());
    bus.endpoint(endpoint).start().await.unwrap()
}

/// `of_each` messages of each key.
async fn send(bus: &Bus, keys: u64, of_each: u64) {
    for n in 0..of_each {
        for key in 0..keys {
            bus.send("payment", &Charge { key, n }).key(format!("customer {key}")).await.unwrap();
        }
    }
}

async fn dead(bus: &Bus) -> usize {
    bus.dead_letters("payment").unwrap().peek(None, 100).await.unwrap().len()
}

#[tokio::test]
async fn an_outage_and_a_lost_connection_within_it_make_no_dead_letters() {
    let Some(vhost) = Vhost::fresh() else { return };
    let gateway = Arc::new(Gateway::default());
    gateway.is_down.store(true, SeqCst);
    let breakers = [breaker(), breaker()];
    let mut buses = Vec::new();
    for breaker in &breakers {
        let endpoint = Endpoint::new("payment").circuit_breaker(breaker).concurrency(4);
        // One run may be charged in each process before its breaker has seen enough to open.
        let retry = Retry::fixed(Duration::from_millis(20)).runs(4);
        buses.push(start(&vhost, endpoint.retry(retry).handle(charge), &gateway).await);
    }
    send(&buses[0], 10, 20).await;
    let opened = |times| breakers.iter().all(|breaker| breaker.figures().opened >= times);
    gateway.until(|_| opened(4)).await;
    cut(&vhost, 2).await;
    let before = breakers.each_ref().map(|breaker| breaker.figures().opened);
    gateway.until(|_| opened(4 + before.into_iter().max().unwrap_or_default())).await;
    gateway.is_down.store(false, SeqCst);
    gateway.until(|gateway| gateway.distinct() == 200).await;
    assert_eq!(dead(&buses[0]).await, 0);
    let refused = gateway.refused.load(SeqCst);
    assert!(refused < 200, "{refused} calls in vain in {} turns", breakers[0].figures().opened);
    for bus in buses {
        let _drained = bus.drain(PATIENCE).await.unwrap();
    }
}

#[tokio::test]
async fn order_by_key_is_kept_through_an_outage() {
    let Some(vhost) = Vhost::fresh() else { return };
    let gateway = Arc::new(Gateway::default());
    let breaker = breaker();
    let ordered = Endpoint::new("payment").circuit_breaker(&breaker).concurrency(4);
    let ordered = ordered.ordering(Ordering::PerKey).handle(charge);
    let ordered = ordered.retry(Retry::fixed(Duration::from_millis(50)).runs(20));
    let bus = start(&vhost, ordered, &gateway).await;
    gateway.is_down.store(true, SeqCst);
    send(&bus, 8, 15).await;
    gateway.until(|_| breaker.figures().opened >= 6).await;
    gateway.is_down.store(false, SeqCst);
    gateway.until(|gateway| gateway.distinct() == 120).await;
    assert_eq!(dead(&bus).await, 0);
    for key in 0..8 {
        let charged = gateway.charged.lock();
        let mut of_key: Vec<_> =
            charged.iter().filter(|(of, _)| *of == key).map(|(_, n)| *n).collect();
        of_key.dedup();
        assert_eq!(of_key, (0..15).collect::<Vec<_>>(), "key {key}");
    }
    let _drained = bus.drain(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_hot_key_has_its_rate_and_one_handler_at_once_and_holds_up_nobody() {
    let Some(vhost) = Vhost::fresh() else { return };
    let gateway = Arc::new(Gateway::default());
    let limited = Endpoint::new("payment").concurrency(8).concurrency_per_key(1);
    let limited = limited.rate_limit_per_key(RateLimit::per_second(20).burst(5)).handle(charge);
    let bus = start(&vhost, limited, &gateway).await;
    let began = Instant::now();
    let hot: Vec<_> = (0..45).map(|n| Charge { key: 1000, n }).collect();
    for charge in &hot {
        bus.send("payment", charge).key("hot").await.unwrap();
    }
    send(&bus, 40, 2).await;
    gateway.until(|gateway| gateway.distinct_but(1000) == 80).await;
    assert!(
        gateway.charged.lock().len() < 80 + 45,
        "the others came before the last of the hot key"
    );
    gateway.until(|gateway| gateway.distinct() == 80 + 45).await;
    assert!(began.elapsed() >= Duration::from_secs(2), "40 behind the burst at 20 a second");
    assert!(!gateway.overlapped.load(SeqCst));
    assert_eq!(dead(&bus).await, 0);
    let _drained = bus.drain(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_queue_that_the_broker_removes_when_nobody_reads_it_has_no_breaker() {
    let Some(vhost) = Vhost::fresh() else { return };
    let expires = Endpoint::new("expires").argument("x-expires", "60000");
    for endpoint in [Endpoint::new("temporary").temporary(), expires] {
        let bus = Bus::connect(vhost.url.as_str()).await.unwrap().state(Arc::<Gateway>::default());
        let bus = bus.endpoint(endpoint.circuit_breaker(&breaker()).handle(charge));
        let said = bus.start().await.unwrap_err().to_string();
        assert!(
            said.contains("may remove a queue like this, temporary or with `x-expires`"),
            "{said}"
        );
    }
}
