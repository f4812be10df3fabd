//! Queues that are full refuse all of a publish, and all of a transaction.

use super::handlers::{charge, note, retry};
use crate::engine::evidence::{check_none_twice, check_once, count, counted, dead, queued};
use crate::engine::message::{Order, Paid};
use std::collections::BTreeSet;
use tramline::testing::{Aftermath, Life, Scenario};
use tramline::{BusBuilder, Endpoint, Failure, Memory, Tx};

const PAYMENTS_MAX: u64 = 2;
const ENTRIES_MAX: u64 = 1;
const ORDERS: u32 = 6;

pub(super) fn full() -> Scenario {
    full_with(|life| life.bus().store(life.store()))
}

/// The same on a bus of the caller's.
pub(crate) fn full_with(bus: fn(&Life) -> BusBuilder) -> Scenario {
    let build = move |life: &Life| {
        let payment = Endpoint::new("payment").subscribe::<Order>().length_max(PAYMENTS_MAX);
        let payment = payment.transactional().retry(retry()).concurrency(2);
        let audit = Endpoint::new("audit").subscribe::<Order>().transactional().retry(retry());
        let ledger = Endpoint::new("ledger").subscribe::<Paid>().length_max(ENTRIES_MAX);
        bus(life)
            .endpoint(payment.handle(charge))
            .endpoint(audit.handle(see))
            .endpoint(ledger.transactional().retry(retry()).handle(note))
    };
    // Whoever waits for its retry has its place in the queue all the same.
    (1..=ORDERS)
        .fold(Scenario::new(build).process(build), |scenario, n| {
            scenario.publish(Order::failing(n, n % 3))
        })
        .always("no queue holds more than it may", |after| {
            let is_full = |queue, max| after.queued(queue).len() as u64 > max;
            if is_full("payment", PAYMENTS_MAX) || is_full("ledger", ENTRIES_MAX) {
                return Err("one does".to_owned());
            }
            Ok(())
        })
        .always("what one subscriber gets, the other gets too", |after| {
            same(&there(after, "payment", "charged"), &there(after, "audit", "seen"))
        })
        .always("what is charged is noted, or will be, or is dead", |after| {
            let charged = (1..=ORDERS).filter(|n| is_counted(after, "charged", *n)).collect();
            same(&charged, &there(after, "ledger", "noted"))
        })
        .always("transactional effects happen once", |after| after.read(check_none_twice))
        .finally("orders are charged, or dead", |after| {
            after.read(|db| check_once(db, &dead(after, "payment"), "charged", 1..=ORDERS))
        })
}

async fn see(order: Order, tx: Tx<Memory>) -> Result<(), Failure> {
    count(&tx, format!("seen {}", order.n))
}

/// The orders that have reached `queue`, whatever became of them there.
fn there(after: &Aftermath, queue: &str, what: &str) -> BTreeSet<u32> {
    let waiting = &queued(after, queue) | &dead(after, queue);
    (1..=ORDERS).filter(|n| waiting.contains(n) || is_counted(after, what, *n)).collect()
}

fn is_counted(after: &Aftermath, what: &str, n: u32) -> bool {
    after.read(|db| counted(db, &format!("{what} {n}"))) > 0
}

fn same(one: &BTreeSet<u32>, other: &BTreeSet<u32>) -> Result<(), String> {
    if one == other { Ok(()) } else { Err(format!("{one:?} and {other:?}")) }
}
