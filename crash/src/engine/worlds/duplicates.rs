//! The same is sent under several ids and one key of its sender.

use super::handlers::{charge, note, retry};
use crate::engine::evidence::{check_none_twice, check_once, dead};
use crate::engine::message::{Order, Paid};
use tramline::Endpoint;
use tramline::testing::{Life, Scenario};

pub(super) fn duplicates() -> Scenario {
    let build = |life: &Life| {
        let payment = Endpoint::new("payment").transactional().retry(retry()).concurrency(3);
        let ledger = Endpoint::new("ledger").subscribe::<Paid>().transactional().retry(retry());
        let bus = life.bus().store(life.store());
        bus.endpoint(payment.handle(charge)).endpoint(ledger.handle(note))
    };
    Scenario::new(build)
        .process(build)
        .send_with("payment", Order::of(1), |draft| draft.idempotency_key("one"))
        .send_with("payment", Order::of(1), |draft| draft.idempotency_key("one"))
        .send_with("payment", Order::failing(2, 1), |draft| draft.idempotency_key("two"))
        .send_with("payment", Order::failing(2, 1), |draft| draft.idempotency_key("two"))
        // Another body under a key that was used: dead, and never swallowed.
        .send_with("payment", Order::of(3), |draft| draft.idempotency_key("two"))
        .always("transactional effects happen once", |after| after.read(check_none_twice))
        .finally("orders are charged, or dead", |after| {
            after.read(|db| check_once(db, &dead(after, "payment"), "charged", 1..=3))
        })
}
