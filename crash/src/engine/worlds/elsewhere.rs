//! The store is another database than the transport: inbox, outbox and a relay.

use super::handlers::{charge, note, retry};
use crate::engine::evidence::{check_none_twice, check_once, dead};
use crate::engine::message::{HOPELESS, Order, Paid};
use tramline::testing::{Life, Scenario};
use tramline::{BusBuilder, Endpoint};

pub(super) fn elsewhere() -> Scenario {
    elsewhere_with(|life| life.bus().store(life.elsewhere()))
}

/// The same on a bus of the caller's.
pub(crate) fn elsewhere_with(bus: fn(&Life) -> BusBuilder) -> Scenario {
    let build = move |life: &Life| {
        let payment = Endpoint::new("payment").transactional().retry(retry()).concurrency(3);
        let ledger = Endpoint::new("ledger").subscribe::<Paid>().transactional().retry(retry());
        bus(life).endpoint(payment.handle(charge)).endpoint(ledger.handle(note))
    };
    Scenario::new(build)
        .process(build)
        .send("payment", Order::of(1))
        .send("payment", Order::failing(2, 1))
        .send("payment", Order::failing(3, HOPELESS))
        .send("payment", Order::of(4))
        .always("transactional effects happen once", |after| after.read_elsewhere(check_none_twice))
        .finally("orders are charged, or dead", |after| {
            after.read_elsewhere(|db| check_once(db, &dead(after, "payment"), "charged", 1..=4))
        })
        .finally("what is charged is noted, or dead", |after| {
            let given_up = &dead(after, "payment") | &dead(after, "ledger");
            after.read_elsewhere(|db| check_once(db, &given_up, "noted", 1..=4))
        })
}
