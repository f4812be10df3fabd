//! Messages of one key keep their order through an outbox and a relay.

use super::elsewhere::elsewhere;
use super::handlers::retry;
use super::keys::spec;
use crate::engine::evidence::{check_in_order, dead};
use crate::engine::message::{Order, Paid};
use std::sync::Arc;
use tramline::testing::{Life, Scenario};
use tramline::{Draft, Endpoint, Envelope, Failure, Memory, Tx};

/// How many events an order has, all of its key.
const EVENTS: u32 = 3;

pub(super) fn relayed_keys() -> Scenario {
    let Some(spec) = spec() else { return elsewhere() };
    let build = move |life: &Life| {
        let orders = Endpoint::new("orders").transactional().retry(retry()).concurrency(2);
        let events = Endpoint::new("keyed").queue_spec(spec.clone()).subscribe::<Paid>();
        let events = events.transactional().retry(retry()).concurrency(4);
        let bus = life.bus().store(life.elsewhere());
        bus.endpoint(orders.handle(announce)).endpoint(events.handle(append))
    };
    let scenario = Scenario::new(build.clone()).process(build);
    (1..=3)
        .fold(scenario, |scenario, n| scenario.send("orders", Order::of(n)))
        .always("order by key holds", |after| after.read_elsewhere(check_in_order))
        .finally("what is announced is handled, or dead", |after| {
            let (unannounced, dead) = (dead(after, "orders"), dead(after, "keyed"));
            let handled = after.read_elsewhere(|db| db.entries::<Vec<u32>>());
            let handled = |event| handled.iter().any(|(_, events)| events.contains(&event));
            let mut events = (1..=3).filter(|n| !unannounced.contains(n)).flat_map(events_of);
            match events.find(|event| !handled(*event) && !dead.contains(event)) {
                Some(event) => Err(format!("event {event} is neither")),
                None => Ok(()),
            }
        })
}

fn events_of(order: u32) -> impl Iterator<Item = u32> {
    (1..=EVENTS).map(move |event| 10 * order + event)
}

async fn announce(order: Order, tx: Tx<Memory>) -> Result<(), Failure> {
    tx.write(move |db| {
        events_of(order.n)
            .try_for_each(|n| db.publish(Draft::of(&Paid { n }).key(order.n.to_string())))
    })
}

async fn append(paid: Paid, envelope: Arc<Envelope>, tx: Tx<Memory>) -> Result<(), Failure> {
    super::keys::append_to(&tx, envelope.key.clone().unwrap_or_default(), paid.n)
}
