//! A gateway that is down for a while, and slow to answer each customer: nobody's retries are burnt, and no
//! customer holds up the others.
//!
//! `cargo run -p tramline --example 12-protection`

#![expect(clippy::print_stdout, reason = "it shows what happens")]

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;
use tramline::breaker::BreakerState;
use tramline::{Attempt, Bus, CircuitBreaker, Endpoint, Failure, Message, RateLimit, Retry, State};

#[derive(Serialize, Deserialize)]
struct Charge {
    order: u32,
}
impl Message for Charge {
    const NAME: &'static str = "charge";
}

#[derive(Clone, Default)]
struct Gateway {
    is_up: Arc<AtomicBool>,
    asked_in_vain: Arc<AtomicU32>,
    charged: Arc<AtomicU32>,
}

async fn charge(
    charge: Charge,
    attempt: Attempt,
    State(gateway): State<Gateway>,
) -> Result<(), Failure> {
    tokio::time::sleep(Duration::from_millis(2)).await; // the call
    if !gateway.is_up.load(SeqCst) {
        println!("order {}: the gateway is down", charge.order);
        gateway.asked_in_vain.fetch_add(1, SeqCst);
        return Err(Failure::retryable("the gateway is down"));
    }
    println!("order {} is charged at run {}", charge.order, attempt.0);
    gateway.charged.fetch_add(1, SeqCst);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let breaker = CircuitBreaker::named("gateway")
        .failure_rate(0.5)
        .calls_min(4)
        .open_for(Duration::from_millis(200))
        .build();
    let payment = Endpoint::new("payment")
        .circuit_breaker(&breaker)
        .time_limit(Duration::from_secs(5)) // a call that hangs has failed
        .rate_limit(RateLimit::per_second(500).burst(50))
        .concurrency_per_key(1) // the key is the customer
        .concurrency(4)
        .retry(Retry::fixed(Duration::from_millis(50)).runs(2)) // an outage would use them up in no time
        .handle(charge);
    let gateway = Gateway::default();
    let bus = Bus::connect("memory:").await?.state(gateway.clone()).endpoint(payment);
    let bus = bus.start().await?;
    for order in 0..20 {
        bus.send("payment", &Charge { order }).key(format!("customer {}", order % 5)).await?;
    }
    tokio::time::sleep(Duration::from_millis(700)).await; // the outage
    println!("{:?}", breaker.figures());
    gateway.is_up.store(true, SeqCst);
    while gateway.charged.load(SeqCst) < 20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let asked = gateway.asked_in_vain.load(SeqCst);
    let dead = bus.dead_letters("payment")?.peek(None, 100).await?.len();
    println!("asked in vain: {asked} times; dead letters: {dead}");
    assert!(asked < 20 && dead == 0 && breaker.state() == BreakerState::Closed);
    let _drained = bus.drain(Duration::from_secs(5)).await?;
    Ok(())
}
