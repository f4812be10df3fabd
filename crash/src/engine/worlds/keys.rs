//! Messages of one key are handled in the order in which they were sent.

use super::handlers::retry;
use super::shared::shared;
use crate::engine::evidence::{check_in_order, dead};
use crate::engine::message::{HOPELESS, Order};
use std::sync::Arc;
use tramline::core::capabilities::Ordering;
use tramline::core::transport::Transport;
use tramline::testing::{Aftermath, Life, Scenario};
use tramline::{
    Attempt, BusBuilder, Endpoint, Envelope, Failure, Memory, QueueName, QueueSpec, Tx,
};

pub(super) fn keys() -> Scenario {
    let Some(spec) = spec() else { return shared() };
    let build = build(spec);
    ordered(Scenario::new(build.clone()).process(build))
}

/// The same where the broker locks no keys. It promises order to a single receiver, so there is one
/// process; what it counts is forgotten with each of its deaths.
pub(super) fn lanes() -> Scenario {
    let Some(spec) = spec() else { return shared() };
    ordered(Scenario::new(build(spec)).memory(|options| options.without_key_lock()))
}

fn build(spec: QueueSpec) -> impl Fn(&Life) -> BusBuilder + Clone + Send + Sync + 'static {
    move |life: &Life| {
        let endpoint = Endpoint::new("keyed").queue_spec(spec.clone()).transactional();
        let endpoint = endpoint.retry(retry()).concurrency(4).handle(append);
        life.bus().store(life.store()).endpoint(endpoint)
    }
}

fn ordered(scenario: Scenario) -> Scenario {
    let orders = [
        ("a", Order::of(1)),
        ("a", Order::failing(2, 2)),
        ("b", Order::of(3)),
        ("a", Order::of(4)),
        ("b", Order::failing(5, HOPELESS)),
        ("b", Order::of(6)),
        ("a", Order::of(7)),
    ];
    let scenario = orders.into_iter().fold(scenario, |scenario, (key, order)| {
        scenario.send_with("keyed", order, move |draft| draft.key(key))
    });
    scenario.always("order by key holds", |after| after.read(check_in_order)).finally(
        "every message of a key is handled, or dead",
        |after| {
            let (handled, dead) = (handled(after), dead(after, "keyed"));
            let is_there = |n: &u32| dead.contains(n) || handled.iter().any(|key| key.contains(n));
            match (1..=7).find(|n| !is_there(n)) {
                Some(n) => Err(format!("order {n} is neither")),
                None => Ok(()),
            }
        },
    )
}

/// A queue with order by key, if this memory has any.
pub(super) fn spec() -> Option<QueueSpec> {
    let mut spec = QueueSpec::new(QueueName::new("keyed").ok()?);
    spec.ordering = Ordering::PerKey;
    (Memory::new().capabilities(&spec).ordering >= Ordering::PerKey).then_some(spec)
}

/// Writes down which order came, under its key.
async fn append(
    order: Order,
    run: Attempt,
    envelope: Arc<Envelope>,
    tx: Tx<Memory>,
) -> Result<(), Failure> {
    let key = envelope.key.clone().unwrap_or_default();
    append_to(&tx, key, order.n)?;
    tokio::task::yield_now().await;
    if order.is_hopeless() {
        return Err(Failure::permanent("it never succeeds"));
    }
    if run.0 <= order.failures { Err(Failure::retryable("not yet")) } else { Ok(()) }
}

fn handled(after: &Aftermath) -> Vec<Vec<u32>> {
    after.read(|db| db.entries::<Vec<u32>>().into_iter().map(|(_, handled)| handled).collect())
}

/// Writes `n` behind what was handled of `key`.
pub(super) fn append_to(tx: &Tx<Memory>, key: String, n: u32) -> Result<(), Failure> {
    tx.write(move |db| {
        let mut handled = db.get::<Vec<u32>>(&key).unwrap_or_default();
        handled.push(n);
        db.put(key.clone(), handled);
        Ok(())
    })
}
