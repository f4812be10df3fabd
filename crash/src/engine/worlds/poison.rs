//! A message that kills every process that handles it, among others that do not.

use super::handlers::plain;
use crate::engine::evidence::dead_of;
use crate::engine::message::{HOPELESS, Order};
use std::collections::BTreeSet;
use std::time::Duration;
use tramline::testing::faults::Faults;
use tramline::testing::{Life, Scenario};
use tramline::{Attempt, BusBuilder, Endpoint, Failure, Retry, State};

pub(super) fn poison() -> Scenario {
    poison_with(Life::bus)
}

/// The same on a bus of the caller's.
pub(crate) fn poison_with(bus: fn(&Life) -> BusBuilder) -> Scenario {
    let build = move |life: &Life| {
        // Every failure goes back to the queue, and comes as a delivery of its own.
        let retry = Retry::exponential(Duration::from_secs(2)).runs(8);
        let endpoint = Endpoint::new("deadly").retry(retry).concurrency(4).handle(deadly);
        bus(life).state(life.faults()).endpoint(endpoint)
    };
    Scenario::new(build)
        .process(build)
        .send("deadly", Order::of(1))
        .send("deadly", Order::failing(2, HOPELESS))
        .send("deadly", Order::of(3))
        .send("deadly", Order::failing(4, 1))
        .send("deadly", Order::failing(5, 6))
        .finally("who kills the process is dead, and no other", |after| {
            let poison = dead_of(after, "deadly", |reason| reason == "poison");
            if poison == BTreeSet::from([2]) { Ok(()) } else { Err(format!("dead: {poison:?}")) }
        })
}

async fn deadly(order: Order, run: Attempt, State(faults): State<Faults>) -> Result<(), Failure> {
    if order.is_hopeless() {
        faults.die().await;
    }
    plain(order, run).await
}
