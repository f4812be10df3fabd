//! Many messages at once.

use super::handlers::{note, retry};
use crate::engine::evidence::{check_none_twice, check_once, count, dead};
use crate::engine::message::{HOPELESS, Order, Paid};
use std::time::Duration;
use tramline::testing::{Life, Scenario};
use tramline::{Endpoint, Failure, Item, Memory, Tx};

fn endpoint() -> Endpoint {
    Endpoint::new("payment").retry(retry()).concurrency(2).batch(3, Duration::from_millis(50))
}

fn failing(batch: &[Item<Order>]) -> Result<(), Failure> {
    if batch.iter().any(|item| item.message.is_hopeless()) {
        return Err(Failure::permanent("it never succeeds"));
    }
    if batch.iter().any(|item| item.attempt <= item.message.failures) {
        return Err(Failure::retryable("not yet"));
    }
    Ok(())
}

pub(super) fn batches() -> Scenario {
    async fn charge_all(batch: Vec<Item<Order>>, tx: Tx<Memory>) -> Result<(), Failure> {
        for item in &batch {
            count(&tx, format!("charged {}", item.message.n))?;
            item.publish(&Paid { n: item.message.n })?;
        }
        tokio::task::yield_now().await;
        failing(&batch)
    }
    let build = |life: &Life| {
        let ledger = Endpoint::new("ledger").subscribe::<Paid>().transactional().retry(retry());
        let payment = endpoint().transactional().handle_batch(charge_all);
        life.bus().store(life.store()).endpoint(payment).endpoint(ledger.handle(note))
    };
    orders(Scenario::new(build).process(build))
        .always("transactional effects happen once", |after| after.read(check_none_twice))
        .finally("orders are charged, or dead", |after| {
            after.read(|db| check_once(db, &dead(after, "payment"), "charged", 1..=5))
        })
        .finally("what is charged is noted, or dead", |after| {
            let given_up = &dead(after, "payment") | &dead(after, "ledger");
            after.read(|db| check_once(db, &given_up, "noted", 1..=5))
        })
}

pub(super) fn plain_batches() -> Scenario {
    async fn take_all(batch: Vec<Item<Order>>) -> Result<(), Failure> {
        for item in &batch {
            item.publish(&Paid { n: item.message.n })?;
        }
        failing(&batch)
    }
    let build = |life: &Life| {
        let mail = Endpoint::new("ledger").subscribe::<Paid>().transactional().retry(retry());
        let payment = endpoint().handle_batch(take_all);
        life.bus().store(life.store()).endpoint(payment).endpoint(mail.handle(note))
    };
    // Whoever handles twice publishes the same ids twice, and the inbox of the next knows them.
    orders(Scenario::new(build))
        .always("transactional effects happen once", |after| after.read(check_none_twice))
        .finally("what is handled is noted, or dead", |after| {
            let given_up = &dead(after, "payment") | &dead(after, "ledger");
            after.read(|db| check_once(db, &given_up, "noted", 1..=5))
        })
}

fn orders(scenario: Scenario) -> Scenario {
    scenario
        .send("payment", Order::of(1))
        .send("payment", Order::failing(2, 1))
        .send("payment", Order::of(3))
        .send("payment", Order::failing(4, HOPELESS))
        .send("payment", Order::of(5))
}
