//! Transport and store are one database: acks, writes and messages are one transaction.

use super::handlers::{charge, note, plain, retry};
use crate::engine::evidence::{check_none_twice, check_once, dead};
use crate::engine::message::{HOPELESS, Order, Paid};
use tramline::testing::{Life, Scenario};
use tramline::{BusBuilder, Endpoint};

pub(super) fn shared() -> Scenario {
    shared_with(|life| life.bus().store(life.store()))
}

/// The same on a bus of the caller's.
pub(crate) fn shared_with(bus: fn(&Life) -> BusBuilder) -> Scenario {
    let build = move |life: &Life| {
        let payment = Endpoint::new("payment").transactional().retry(retry()).concurrency(4);
        let ledger = Endpoint::new("ledger").subscribe::<Paid>().transactional().retry(retry());
        let mail = Endpoint::new("mail").subscribe::<Order>().retry(retry());
        bus(life)
            .endpoint(payment.handle(charge))
            .endpoint(ledger.handle(note))
            .endpoint(mail.handle(plain))
    };
    Scenario::new(build)
        .process(build)
        .send("payment", Order::of(1))
        .send("payment", Order::failing(2, 2))
        .publish(Order::failing(9, 1))
        .send("payment", Order::failing(3, HOPELESS))
        .send("payment", Order::of(4))
        .always("transactional effects happen once", |after| after.read(check_none_twice))
        .finally("orders are charged, or dead", |after| {
            after.read(|db| check_once(db, &dead(after, "payment"), "charged", 1..=4))
        })
        .finally("what is charged is noted, or dead", |after| {
            let given_up = &dead(after, "payment") | &dead(after, "ledger");
            after.read(|db| check_once(db, &given_up, "noted", 1..=4))
        })
}
