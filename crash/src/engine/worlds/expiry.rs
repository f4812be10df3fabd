//! What has lost its meaning is a dead letter, and no handler begins with it.

use super::handlers::{plain, retry};
use crate::engine::evidence::{dead, number};
use crate::engine::message::Order;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;
use tramline::core::clock::{Clock, ManualClock};
use tramline::core::dead::Reason;
use tramline::testing::{Aftermath, Life, Scenario};
use tramline::{Attempt, BusBuilder, Endpoint, Envelope, Failure, State};

/// The order that never fails.
const SMOOTH: u32 = 4;

pub(super) fn expiry() -> Scenario {
    expiry_with(Life::bus)
}

/// The same where the broker hands out what has expired, and nobody but the engine looks.
pub(super) fn expiry_by_bus() -> Scenario {
    expiry_by_bus_with(Life::bus)
}

/// The same on a bus of the caller's.
pub(crate) fn expiry_by_bus_with(bus: fn(&Life) -> BusBuilder) -> Scenario {
    expiry_with(bus).memory(|options| options.without_native_retry().without_native_dead_letters())
}

/// The same on a bus of the caller's.
pub(crate) fn expiry_with(bus: fn(&Life) -> BusBuilder) -> Scenario {
    let late = Late::default();
    let outside = late.clone();
    let build = move |life: &Life| {
        let news = Endpoint::new("news").retry(retry()).concurrency(2).handle(read);
        bus(life).state(life.clock().clone()).state(outside.clone()).endpoint(news)
    };
    let orders = [
        Order::failing(1, 1),
        Order::failing(2, 4),
        Order::failing(3, 2),
        Order::of(SMOOTH),
        Order::of(5),
        Order::failing(6, 1),
    ];
    let scenario = Scenario::new(build.clone()).process(build);
    let scenario = orders.into_iter().fold(scenario, |scenario, order| {
        let lifetime = lifetime(order.n);
        scenario.send_with("news", order, move |draft| match lifetime {
            Some(lifetime) => draft.ttl(lifetime),
            None => draft,
        })
    });
    scenario
        .always("no handler begins with what has expired", move |_| match late.0.load(SeqCst) {
            0 => Ok(()),
            times => Err(format!("{times} have")),
        })
        .always("nothing expires before its time", check_times)
        .always("what expired unhandled is charged nothing", check_charges)
        .finally("what does not expire is handled", |after| {
            match dead(after, "news").into_iter().find(|n| lifetime(*n).is_none()) {
                Some(n) => Err(format!("order {n} is dead")),
                None => Ok(()),
            }
        })
}

/// After which time an order has lost its meaning.
fn lifetime(n: u32) -> Option<Duration> {
    match n {
        1 | SMOOTH => Some(Duration::from_millis(100)),
        2 => Some(Duration::from_secs(3)),
        3 => Some(Duration::from_secs(60 * 60)),
        _ => None,
    }
}

/// How often a handler began too late.
#[derive(Clone, Default)]
struct Late(Arc<AtomicU32>);

/// By what the order says, and not by what the bus makes of that.
async fn read(
    order: Order,
    run: Attempt,
    envelope: Arc<Envelope>,
    State(clock): State<ManualClock>,
    State(late): State<Late>,
) -> Result<(), Failure> {
    let over = lifetime(order.n).zip(envelope.sent_at).map(|(ttl, sent)| sent.after(ttl));
    if over.is_some_and(|over| clock.now() >= over) {
        late.0.fetch_add(1, SeqCst);
    }
    plain(order, run).await
}

fn check_times(after: &Aftermath) -> Result<(), String> {
    for letter in after.dead_letters("news") {
        let Some(death) = letter.death.as_ref().filter(|death| death.reason == Reason::Expired)
        else {
            continue;
        };
        if letter.envelope.expires_at.is_none_or(|at| at > death.failed_at) {
            return Err(format!("{letter:?}"));
        }
    }
    Ok(())
}

fn check_charges(after: &Aftermath) -> Result<(), String> {
    let mut charged = after.dead_letters("news").filter(|letter| letter.failures > 0);
    match charged.find(|letter| number(&letter.envelope) == Some(SMOOTH)) {
        Some(letter) => Err(format!("{letter:?}")),
        None => Ok(()),
    }
}
