//! A transport that can neither retry nor dead-letter by itself: a confirmed copy, then the ack.

use super::handlers::{charge, plain, retry};
use crate::engine::evidence::{check_none_twice, check_once, dead};
use crate::engine::message::{HOPELESS, Order};
use tramline::testing::{Life, Scenario};
use tramline::{BusBuilder, Endpoint};

pub(super) fn by_bus() -> Scenario {
    by_bus_with(|life| life.bus().store(life.store()))
}

/// The same on a bus of the caller's.
pub(crate) fn by_bus_with(bus: fn(&Life) -> BusBuilder) -> Scenario {
    let build = move |life: &Life| {
        let plainly = Endpoint::new("plain").retry(retry()).concurrency(2).handle(plain);
        let payment = Endpoint::new("payment").transactional().retry(retry()).handle(charge);
        bus(life).endpoint(plainly).endpoint(payment)
    };
    Scenario::new(build)
        .memory(|options| options.without_native_retry().without_native_dead_letters())
        .process(build)
        .send("plain", Order::failing(1, 3))
        .send("plain", Order::failing(2, HOPELESS))
        .send("payment", Order::failing(3, 2))
        .send("payment", Order::failing(4, HOPELESS))
        .send("plain", Order::of(5))
        .always("transactional effects happen once", |after| after.read(check_none_twice))
        .finally("orders are charged, or dead", |after| {
            after.read(|db| check_once(db, &dead(after, "payment"), "charged", 3..=4))
        })
        .finally("what no handler takes is dead", |after| {
            let both = dead(after, "plain").contains(&2) && dead(after, "payment").contains(&4);
            if both { Ok(()) } else { Err("one of them is not".to_owned()) }
        })
}
