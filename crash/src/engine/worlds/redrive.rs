//! An operator puts dead letters back, one by one, while processes die.

use super::handlers::{charge, note, retry};
use crate::engine::evidence::{check_none_twice, check_once, dead};
use crate::engine::message::{HOPELESS, Order, Paid};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use tramline::core::operate::Redrive;
use tramline::core::{Error, ErrorKind, Result};
use tramline::testing::{Life, Scenario};
use tramline::{Attempt, Bus, BusBuilder, Endpoint, Failure, Memory, Outbox, State, Tx};

const ORDERS: u32 = 6;

pub(super) fn redrive() -> Scenario {
    redrive_with(|life| life.bus().store(life.store()))
}

/// The same on a bus of the caller's.
pub(crate) fn redrive_with(bus: fn(&Life) -> BusBuilder) -> Scenario {
    let gateway = Gateway::default();
    let (outside, mended) = (gateway.clone(), gateway.clone());
    let build = move |life: &Life| {
        let payment = Endpoint::new("payment").transactional().retry(retry()).concurrency(2);
        let ledger = Endpoint::new("ledger").subscribe::<Paid>().transactional().retry(retry());
        let bus = bus(life).state(outside.clone());
        bus.endpoint(payment.handle(charge_there)).endpoint(ledger.handle(note))
    };
    (1..=ORDERS)
        .fold(Scenario::new(build.clone()).process(build), |scenario, n| {
            scenario
                .send("payment", if n == 1 { Order::failing(n, HOPELESS) } else { Order::of(n) })
        })
        .act("redrive", move |bus| mended.clone().mend_and_redrive(bus))
        .always("transactional effects happen once", |after| after.read(check_none_twice))
        .finally("orders are charged, or dead", |after| {
            after.read(|db| check_once(db, &dead(after, "payment"), "charged", 1..=ORDERS))
        })
        .finally("what is charged is noted, or dead", |after| {
            let given_up = &dead(after, "payment") | &dead(after, "ledger");
            after.read(|db| check_once(db, &given_up, "noted", 1..=ORDERS))
        })
}

/// What half of the orders cannot be charged without. It is down until an operator mends it.
#[derive(Clone, Default)]
struct Gateway {
    is_up: Arc<AtomicBool>,
}

impl Gateway {
    async fn mend_and_redrive(self, bus: Bus) -> Result<()> {
        let letters = bus.dead_letters("payment")?;
        if !self.is_up.load(SeqCst) && letters.peek(None, 3).await?.len() < 3 {
            return Err(Error::new(ErrorKind::Unavailable, "redrive: too few are dead yet"));
        }
        self.is_up.store(true, SeqCst);
        letters.redrive(Redrive { rate: Some(2), ..Redrive::all() }).await.map(drop)
    }
}

async fn charge_there(
    order: Order,
    run: Attempt,
    State(gateway): State<Gateway>,
    tx: Tx<Memory>,
    outbox: Outbox,
) -> Result<(), Failure> {
    if order.n.is_multiple_of(2) && !gateway.is_up.load(SeqCst) {
        return Err(Failure::permanent("the gateway is down"));
    }
    charge(order, run, tx, outbox).await
}
