//! A simulation finds a double charge, and shows that the mended handler makes none.
//!
//! `cargo run -p tramline --features testing --example 8-simulation`

#![expect(clippy::print_stdout, reason = "it shows what happens")]

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tramline::testing::{Scenario, Simulation};
use tramline::{Endpoint, Message, MessageId, State};

#[derive(Serialize, Deserialize)]
struct Charge {
    order: u64,
    cents: u64,
}
impl Message for Charge {
    const NAME: &'static str = "payments.charge";
}

/// The payment gateway, a service of others: what it was paid under which reference. A reference
/// that it knows already charges nothing.
#[derive(Clone, Default)]
struct Gateway(Arc<Mutex<BTreeMap<String, Charge>>>);

impl Gateway {
    fn charge(&self, reference: String, charge: Charge) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(reference).or_insert(charge);
    }

    /// A reference that was never used.
    fn new_reference(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len().to_string()
    }

    fn check(&self) -> Result<(), String> {
        let charges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut charged = BTreeMap::new();
        for Charge { order, cents } in charges.values() {
            if let Some(before) = charged.insert(order, cents) {
                return Err(format!("order {order} was charged {before} cents and {cents} more"));
            }
        }
        Ok(())
    }
}

/// Looks right, and charges twice when the process dies between the gateway and the ack.
async fn naive(charge: Charge, State(gateway): State<Gateway>) {
    gateway.charge(gateway.new_reference(), charge);
}

/// However often it runs, the gateway knows which message it is about.
async fn mended(charge: Charge, id: MessageId, State(gateway): State<Gateway>) {
    gateway.charge(id.to_string(), charge);
}

/// Two orders, a process that may die anywhere, and what must hold all the same.
fn simulation(payment: fn() -> Endpoint) -> Simulation {
    Simulation::of(move |_seed| {
        let gateway = Gateway::default();
        let outside = gateway.clone();
        Scenario::new(move |life| life.bus().state(outside.clone()).endpoint(payment()))
            .send("payment", Charge { order: 1, cents: 950 })
            .send("payment", Charge { order: 2, cents: 120 })
            .always("no order is charged twice", move |_| gateway.check())
    })
}

fn main() {
    let found = simulation(|| Endpoint::new("payment").handle(naive)).run();
    let found = found.expect_err("the naive handler charges twice");
    println!("{found}\n");
    assert_eq!(found.invariant(), "no order is charged twice");

    let survived = simulation(|| Endpoint::new("payment").handle(mended)).run();
    println!("mended: {}", survived.expect("the mended handler never charges twice"));
}
