//! Ours: a bus on the static driver.

use super::database::{DRAIN, Database, QUEUE};
use super::twin::{Table, fill};
use crate::Result;
use crate::completion::Completion;
use crate::latency::{Latencies, paced};
use crate::load::{call, runtime};
use crate::message::OrderPlaced;
use crate::round::Run;
use futures_util::future::try_join_all;
use std::hint::black_box;
use tramline::postgres::sqlx::PgPool;
use tramline::{Bus, Endpoint, Receipt};

pub(super) fn enqueue(database: &Database, messages: u64, callers: u64) -> Result<Run> {
    runtime()?.block_on(async {
        database.prepare().await?;
        let bus = publisher(database).await?;
        let meter = database.meter();
        let through = bus.clone();
        call(callers, messages, move |number| {
            let bus = through.clone();
            async move { received(bus.publish(&OrderPlaced::new(number)).await?) }
        })
        .await?;
        let run = meter.rate(messages);
        let _ = bus.drain(DRAIN).await?;
        Ok(run)
    })
}

pub(super) fn consume(database: &Database, messages: u64, concurrency: usize) -> Result<Run> {
    runtime()?.block_on(async {
        database.prepare().await?;
        fill(database, Table::Ours, messages).await?;
        let builder = database.builder().await?;
        let done = Completion::of(messages);
        let count = done.clone();
        let handler = move |order: OrderPlaced| {
            black_box(&order);
            count.count(order.number());
            std::future::ready(())
        };
        let endpoint = Endpoint::new(QUEUE).subscribe::<OrderPlaced>();
        let endpoint = endpoint.concurrency(concurrency).handle(handler);
        let meter = database.meter();
        let bus = builder.endpoint(endpoint).start().await?;
        done.wait().await;
        let _ = bus.drain(DRAIN).await?;
        Ok(meter.rate(messages))
    })
}

/// Makes the connections that handlers write with, as the twins' are made before they are measured.
pub(super) async fn connected(pool: &PgPool) -> Result<()> {
    let connections = (0..pool.options().get_max_connections()).map(|_| pool.acquire());
    try_join_all(connections).await?;
    Ok(())
}

/// Notes how long each order was on its way.
pub(super) fn listening(latencies: &Latencies) -> Endpoint {
    let latencies = latencies.clone();
    let handler = move |order: OrderPlaced| {
        latencies.note(&order);
        std::future::ready(())
    };
    Endpoint::new(QUEUE).subscribe::<OrderPlaced>().handle(handler)
}

pub(super) async fn publish_paced(bus: &Bus, messages: u64, a_second: u64) -> Result<()> {
    let publish = |order: OrderPlaced| {
        let bus = bus.clone();
        async move { received(bus.publish(&order).await?) }
    };
    paced(messages, a_second, publish).await
}

/// A bus that publishes and handles nothing.
pub(super) async fn publisher(database: &Database) -> Result<Bus> {
    Ok(database.builder().await?.publishes::<OrderPlaced>().start().await?)
}

pub(super) fn received(receipt: Receipt) -> Result<()> {
    match receipt.routed {
        Some(true) => Ok(()),
        _ => Err("a message went to no queue".into()),
    }
}
