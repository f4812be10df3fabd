//! A message that kills every process that handles it, among others that do not.

use super::handlers::{plain, retry};
use crate::engine::evidence::dead_of;
use crate::engine::message::{HOPELESS, Order};
use std::collections::BTreeSet;
use tramline::testing::faults::Faults;
use tramline::testing::{Life, Scenario};
use tramline::{Attempt, Endpoint, Failure, State};

pub(super) fn poison() -> Scenario {
    let build = |life: &Life| {
        let endpoint = Endpoint::new("deadly").retry(retry()).concurrency(3).handle(deadly);
        life.bus().state(life.faults()).endpoint(endpoint)
    };
    Scenario::new(build)
        .process(build)
        .send("deadly", Order::of(1))
        .send("deadly", Order::failing(2, HOPELESS))
        .send("deadly", Order::of(3))
        .send("deadly", Order::failing(4, 1))
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
