//! A queue drops what was sent before, and no copy of what it has. No inbox helps it.

use super::handlers::{plain, retry};
use crate::engine::evidence::{dead, number};
use crate::engine::message::{HOPELESS, Order};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tramline::testing::{Aftermath, Life, Scenario};
use tramline::{Attempt, BusBuilder, Endpoint, Envelope, Failure, MessageId, State};

/// Longer than any run.
const WINDOW: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The order that never fails, so that nobody makes a copy of it.
const SMOOTH: u32 = 3;

pub(super) fn deduplication() -> Scenario {
    deduplication_with(Life::bus)
}

/// The same on a bus of the caller's.
pub(crate) fn deduplication_with(bus: fn(&Life) -> BusBuilder) -> Scenario {
    let handled = Handled::default();
    let (outside, known) = (handled.clone(), handled.clone());
    let build = move |life: &Life| {
        let mail = Endpoint::new("mail").dedup_window(WINDOW).retry(retry()).concurrency(2);
        bus(life).state(outside.clone()).endpoint(mail.handle(take))
    };
    Scenario::new(build.clone())
        // Retries and dead letters are copies that are sent.
        .memory(|options| options.without_native_retry().without_native_dead_letters())
        .process(build)
        .send_with("mail", Order::of(1), |draft| draft.idempotency_key("one"))
        .send_with("mail", Order::failing(2, 2), |draft| draft.idempotency_key("two"))
        .send("mail", Order::of(SMOOTH))
        .send("mail", Order::failing(4, 4))
        .send_with("mail", Order::of(1), |draft| draft.idempotency_key("one"))
        .send("mail", Order::failing(5, HOPELESS))
        .send_with("mail", Order::failing(2, 2), |draft| draft.idempotency_key("two"))
        .always("of what is sent twice one is handled", move |_| known.check_none_twice())
        .always("what is sent twice is there once", check_none_is_there_twice)
        .finally("orders are handled, or dead", move |after| {
            let (handled, dead) = (handled.orders(), dead(after, "mail"));
            match (1..=5).find(|n| !handled.contains(n) && !dead.contains(n)) {
                Some(n) => Err(format!("order {n} is neither")),
                None => Ok(()),
            }
        })
}

/// Under which ids each order came to its handler, by the word of the outside world.
#[derive(Clone, Default)]
struct Handled(Arc<Mutex<BTreeMap<u32, BTreeSet<MessageId>>>>);

impl Handled {
    fn orders(&self) -> BTreeSet<u32> {
        self.0.lock().unwrap().keys().copied().collect()
    }

    fn check_none_twice(&self) -> Result<(), String> {
        match self.0.lock().unwrap().iter().find(|(_, ids)| ids.len() > 1) {
            Some((n, ids)) => Err(format!("order {n} was handled as {ids:?}")),
            None => Ok(()),
        }
    }
}

async fn take(
    order: Order,
    run: Attempt,
    envelope: Arc<Envelope>,
    State(handled): State<Handled>,
) -> Result<(), Failure> {
    handled.0.lock().unwrap().entry(order.n).or_default().extend(envelope.id.clone());
    plain(order, run).await
}

fn check_none_is_there_twice(after: &Aftermath) -> Result<(), String> {
    let there = after.queued("mail");
    match there.iter().filter(|queued| number(&queued.envelope) == Some(SMOOTH)).count() {
        0 | 1 => Ok(()),
        times => Err(format!("order {SMOOTH} is there {times} times")),
    }
}
