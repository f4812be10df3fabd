//! The report of a run.

use super::dead_letters::DeadLetters;
use super::figures::Figures;
use crate::database::{Database, Effects, KnownOrder};
use crate::endpoints::reminder_name;
use crate::order::Order;
use crate::run::Gauge;
use std::collections::{BTreeMap, HashMap, HashSet};
use tramline::{Bus, Failure};

/// What a run came to, and whether it is right.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) found: Figures,
    pub(crate) reasons: BTreeMap<String, u64>,
    pub(crate) redelivered: u64,
    pub(crate) duplicates_suppressed: u64,
    pub(crate) kills: u64,
    pub(crate) broker_kills: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// What is wrong; nothing if it reconciles.
    pub(crate) differences: Vec<String>,
}

impl Report {
    /// Adds everything up and compares it with what `orders` must come to. Orders that others have
    /// placed count on both sides.
    pub(crate) async fn of(
        bus: &Bus,
        database: &Database,
        orders: &[Order],
        gauge: Gauge,
    ) -> Result<Self, Failure> {
        let known = database.orders().await?;
        let dead = match gauge {
            Gauge::Queues => DeadLetters::of_all(bus).await?,
            Gauge::Tables => DeadLetters::of_orders(bus, &known).await?,
        };
        let effects = database.effects().await?;
        let tally = database.tally().await?;
        let (expected, mut differences) = expectation(orders, &known);
        let found = Figures::found(&effects, dead.count);
        differences.extend(found.differences(&expected));
        if gauge == Gauge::Queues {
            differences.extend(waiting_reminder(bus, &known).await?);
        }
        let Effects { kills, broker_kills, run_micros, latencies_micros, .. } = effects;
        Ok(Self {
            found,
            reasons: dead.reasons,
            redelivered: tally.redelivered,
            duplicates_suppressed: tally.duplicates,
            kills,
            broker_kills,
            seconds: run_micros as f64 / 1e6,
            p50_ms: percentile(&latencies_micros, 50) as f64 / 1e3,
            p99_ms: percentile(&latencies_micros, 99) as f64 / 1e3,
            differences,
        })
    }

    pub(crate) fn is_reconciled(&self) -> bool {
        self.differences.is_empty()
    }

    pub(crate) fn orders_per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.found.accepted as f64 / self.seconds } else { 0.0 }
    }
}

/// What all orders must come to, ours and those of others, and which of ours are not as we know
/// them.
fn expectation(ours: &[Order], known: &[KnownOrder]) -> (Figures, Vec<String>) {
    let by_id: HashMap<i64, &Order> = ours.iter().map(|order| (order.order_id, order)).collect();
    let mut differences = Vec::new();
    let mut others = Vec::new();
    for KnownOrder { order, .. } in known {
        match by_id.get(&order.order_id) {
            None => others.push(order),
            Some(our) if *our == order => {}
            Some(_) => {
                let id = order.order_id;
                differences.push(format!("order {id} was placed with other content before"));
            }
        }
    }
    (Figures::expected(ours.iter().chain(others)), differences)
}

/// Every one of `known` is paid or rejected in the end, so that no reminder waits. Where a server is the broker, some
/// may still be on their way to be cancelled.
async fn waiting_reminder(bus: &Bus, known: &[KnownOrder]) -> Result<Option<String>, Failure> {
    const FEW: u32 = 100;
    let names: HashSet<_> = known.iter().map(|known| reminder_name(&known.order)).collect();
    // One that was placed just now may still be on its way.
    let waiting = bus.schedules()?.named(None, FEW).await?;
    let waits = waiting.into_iter().find(|waiting| names.contains(&waiting.name));
    Ok(waits.map(|waits| format!("{} waits, although its order is done", waits.name)))
}

/// The value that so many percent of the sorted `values` do not exceed; 0 without any.
fn percentile(values: &[u64], percent: usize) -> u64 {
    let rank = (values.len() * percent).div_ceil(100);
    values.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data;
    use crate::money::Money;
    use tramline::MessageId;

    fn known(order: Order) -> KnownOrder {
        let event_id: MessageId = "event".parse().unwrap();
        KnownOrder { order, event_id, is_paid: false }
    }

    #[test]
    fn orders_of_others_are_expected_and_ours_must_be_as_they_were() {
        let orders = data::shipped(10).unwrap();
        let (ours, other) = (&orders[..9], orders[9]);
        let changed = Order { total: Money::of_cents(1), ..orders[0] };
        let (expected, differences) = expectation(ours, &[known(other), known(changed)]);
        assert_eq!(expected, Figures::expected(orders.iter()));
        assert_eq!(differences, ["order 1 was placed with other content before"]);
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<u64> = (1..=200).collect();
        assert_eq!((percentile(&values, 50), percentile(&values, 99)), (100, 198));
        assert_eq!((percentile(&[7], 50), percentile(&[7], 99), percentile(&[], 50)), (7, 7, 0));
    }
}
