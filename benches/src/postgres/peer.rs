//! From one process to another on the same database.

use super::database::{DRAIN, Database};
use super::ours::{listening, publish_paced, publisher};
use super::twin::{Table, Writer, twin_table, work};
use crate::Result;
use crate::hand::Letter;
use crate::latency::{Latencies, PACE, paced};
use crate::load::runtime;
use crate::message::OrderPlaced;
use crate::other::{self, Heard, Other};
use crate::round::Run;
use crate::stopwatch::Stopwatch;
use tramline::{Bus, Postgres};

/// How many handlers of the twin are at work at once.
const CONCURRENCY: usize = 16;

pub(super) fn ours(database: &Database, messages: u64) -> Result<Run> {
    runtime()?.block_on(async {
        database.prepare().await?;
        let url = database.url.as_ref();
        let other = Other::start(messages, &["--url".as_ref(), url]).await?;
        let bus = publisher(database).await?;
        let meter = database.meter();
        publish_paced(&bus, messages, PACE).await?;
        let heard: Heard = other.ends().await?;
        let mut run = meter.run(messages, heard.millis);
        run.cpu_micros += heard.cpu_micros;
        let _ = bus.drain(DRAIN).await?;
        Ok(run)
    })
}

pub(super) fn twin(database: &Database, messages: u64) -> Result<Run> {
    runtime()?.block_on(async {
        database.prepare().await?;
        twin_table(&database.connect().await?).await?;
        let url = database.url.as_ref();
        let other = Other::start(messages, &["--twin".as_ref(), "--url".as_ref(), url]).await?;
        let writer = Writer::open(&database.url, Table::Twins).await?;
        let meter = database.meter();
        paced(messages, PACE, |order| {
            let writer = writer.clone();
            async move { writer.put(Letter::placed(&order)?).await }
        })
        .await?;
        let heard: Heard = other.ends().await?;
        let mut run = meter.run(messages, heard.millis);
        run.cpu_micros += heard.cpu_micros;
        Ok(run)
    })
}

/// The other process: says when it listens, and at last what it has heard.
pub(crate) fn listen(url: &str, messages: u64, is_twin: bool) -> Result<()> {
    runtime()?.block_on(async {
        let latencies = Latencies::of(messages);
        let watch = Stopwatch::start();
        if is_twin {
            other::listens();
            let noted = latencies.clone();
            let handle = move |order: OrderPlaced| noted.note(&order);
            work(url, messages, CONCURRENCY, handle).await?;
            return other::heard(&latencies, &watch, messages);
        }
        let bus = Bus::builder(Postgres::connect(url).await?);
        let bus = bus.endpoint(listening(&latencies)).start().await?;
        other::listens();
        latencies.done.wait().await;
        other::heard(&latencies, &watch, messages)?;
        let _ = bus.drain(DRAIN).await?;
        Ok(())
    })
}
