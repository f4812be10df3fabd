//! The main job: what is not placed yet is placed, and the result reported.

use crate::chaos::{self, Kill, Victim};
use crate::cli::CommandLine;
use crate::database::KnownOrder;
use crate::order::Order;
use crate::report::Report;
use crate::run::{Run, Site, look};
use crate::terminal::say;
use crate::trouble::{Trouble, both};
use std::collections::HashSet;
use tramline::core::clock::{Entropy, SystemEntropy};

/// Places `orders`, waits until everything is done, and reports. Answers whether it reconciles.
///
/// # Errors
/// The run went wrong. It is reported all the same, with the reason among what differs.
pub(super) async fn place_and_report(
    line: &CommandLine,
    site: &mut Site,
    orders: &[Order],
) -> Result<bool, Trouble> {
    let placed = place(line, site, orders).await;
    let reported = report(line, site, orders, placed.as_ref().err()).await;
    both(placed, reported).map(|((), is_reconciled)| is_reconciled)
}

async fn report(
    line: &CommandLine,
    site: &Site,
    orders: &[Order],
    trouble: Option<&Trouble>,
) -> Result<bool, Trouble> {
    let report = Report::of(&site.bus, &site.database, orders, site.gauge).await;
    let mut report = report.map_err(Trouble::of)?;
    report.differences.extend(trouble.map(Trouble::to_string));
    say(&report);
    if let Some(path) = &line.report {
        let json = report.to_json().map_err(Trouble::broken)?;
        std::fs::write(path, json).map_err(|error| {
            Trouble::broken(format!("failed to write the report {}: {error}", path.display()))
        })?;
    }
    Ok(report.is_reconciled())
}

async fn place(line: &CommandLine, site: &mut Site, orders: &[Order]) -> Result<(), Trouble> {
    let known = site.database.orders().await.map_err(Trouble::of)?;
    let new = new_orders(orders, &known);
    if !known.is_empty() {
        let (here, left) = (known.len(), new.len());
        say(format_args!("going on with {here} orders that are here, and {left} to place"));
    }
    let total = orders.len() as u64;
    let kills = kills(line, site, total).await?;
    let run = Run::begin(site, new, total, kills).await?;
    run.finish().await
}

/// Those of `orders` whose id is not known.
fn new_orders(orders: &[Order], known: &[KnownOrder]) -> Vec<Order> {
    let known: HashSet<i64> = known.iter().map(|known| known.order.order_id).collect();
    orders.iter().filter(|order| !known.contains(&order.order_id)).copied().collect()
}

/// The kills of this run. None where there is nothing left that they could disturb.
async fn kills(line: &CommandLine, site: &Site, total: u64) -> Result<Vec<Kill>, Trouble> {
    let Some(supervisor) = site.supervisor.as_ref().filter(|_| line.chaos) else {
        return Ok(Vec::new());
    };
    let done =
        look(&site.bus, &site.database, site.gauge).await.map_err(Trouble::of)?.orders_done();
    if done >= total {
        say("chaos: every order is done already, there is nothing to disturb");
        return Ok(Vec::new());
    }
    let seed = line.seed.unwrap_or_else(|| SystemEntropy.bits() as u64);
    let kills = chaos::plan(seed, done, total, supervisor.workers(), line.chaos_broker.is_some());
    let brokers = kills.iter().filter(|kill| kill.victim == Victim::Broker).count();
    let workers = kills.len() - brokers;
    say(format_args!(
        "chaos: --seed {seed} kills workers {workers} times, the broker {brokers} times"
    ));
    Ok(kills)
}
