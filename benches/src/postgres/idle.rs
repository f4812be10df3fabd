//! What a bus asks of the server that has nothing to do.

use super::database::{DRAIN, Database};
use super::ours::listening;
use crate::latency::Latencies;
use crate::load::runtime;
use crate::message::OrderPlaced;
use crate::round::{Amount, Case, Figure, Run};
use crate::{Result, cpu};
use std::fs;
use std::path::Path;
use std::time::Duration;
use tokio::time::sleep;
use tramline::{Bus, Postgres};
use tramline_services::postgres::Server;

/// What the start leaves behind is done by then.
const SETTLING: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(30);

/// A statement is asked so often; the bus has a receiver that waits, and with a store a relay too.
const FIGURES: &[Figure] = &[
    Figure { name: "statements", unit: "a minute" },
    Figure { name: "the most frequent one every", unit: "s" },
    Figure { name: "processor of the client", unit: "% core" },
];

pub(crate) fn cases() -> Vec<Case> {
    [("one endpoint", false), ("one endpoint, and a store in the same database", true)]
        .into_iter()
        .map(|(name, has_store)| Case {
            name: format!("idle, {name}"),
            figures: FIGURES,
            amount: Amount::Fixed(1),
            ours: Box::new(move |messages| idle(messages, has_store)),
            twin: None,
        })
        .collect()
}

/// A bus that has handled something and waits for more, on a server that logs every statement.
fn idle(messages: u64, has_store: bool) -> Result<Run> {
    let settings = [("log_statement", "all"), ("log_line_prefix", "%a|"), ("autovacuum", "off")];
    let server = Server::temporary("idle", &settings)?;
    let database = Database::on(server.url())?;
    runtime()?.block_on(async {
        database.prepare().await?;
        let latencies = Latencies::of(messages);
        let postgres = Postgres::connect(&database.url).await?;
        let builder = Bus::builder(postgres.clone()).endpoint(listening(&latencies));
        let builder = if has_store { builder.store(postgres) } else { builder };
        let bus = builder.start().await?;
        for number in 0..messages {
            bus.publish(&OrderPlaced::new(number)).await?;
        }
        latencies.done.wait().await;
        sleep(SETTLING).await;
        let (before, used) = (logged(&server.log())?.len(), cpu::used());
        sleep(IDLE).await;
        let used = cpu::used() - used;
        let asked = logged(&server.log())?.split_off(before);
        let _ = bus.drain(DRAIN).await?;
        let most = asked.iter().map(|one| asked.iter().filter(|other| *other == one).count()).max();
        let values = vec![
            asked.len() as f64 * 60.0 / IDLE.as_secs_f64(),
            IDLE.as_secs_f64() / most.unwrap_or_default() as f64,
            100.0 * used.as_secs_f64() / IDLE.as_secs_f64(),
        ];
        Ok(Run { values, cpu_micros: used.as_secs_f64() * 1e6 })
    })
}

/// The statements that were carried out so far.
fn logged(log: &Path) -> Result<Vec<String>> {
    let log = fs::read_to_string(log)?;
    let statement = |line: &str| {
        let (_, told) = line.split_once("|LOG:  ")?;
        let is_one = told.starts_with("statement: ") || told.starts_with("execute ");
        is_one.then(|| told.to_owned())
    };
    Ok(log.lines().filter_map(statement).collect())
}
