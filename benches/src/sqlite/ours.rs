//! Ours: a bus on the static driver.

use super::cases::BATCH;
use crate::Result;
use crate::completion::Completion;
use crate::folder::{file, folder};
use crate::hand::{QUEUE, fill, prepare};
use crate::latency::{Latencies, PACE, paced};
use crate::load::{call, runtime};
use crate::message::OrderPlaced;
use crate::round::Run;
use crate::stopwatch::Stopwatch;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;
use tramline::{Bus, Endpoint, Receipt, Sqlite};

const DRAIN: Duration = Duration::from_secs(60);

pub(super) fn enqueue(messages: u64, callers: u64) -> Result<Run> {
    let folder = folder()?;
    runtime()?.block_on(async {
        prepare(&file(&folder)).await?;
        let bus = publisher(&file(&folder)).await?;
        let watch = Stopwatch::start();
        let through = bus.clone();
        call(callers, messages, move |number| {
            let bus = through.clone();
            async move { received(bus.publish(&OrderPlaced::new(number)).await?) }
        })
        .await?;
        let run = watch.rate(messages);
        let _ = bus.drain(DRAIN).await?;
        Ok(run)
    })
}

pub(super) fn enqueue_batches(messages: u64) -> Result<Run> {
    let folder = folder()?;
    runtime()?.block_on(async {
        prepare(&file(&folder)).await?;
        let bus = publisher(&file(&folder)).await?;
        let watch = Stopwatch::start();
        for first in (0..messages).step_by(BATCH as usize) {
            let last = messages.min(first + BATCH);
            let orders: Vec<_> = (first..last).map(OrderPlaced::new).collect();
            for receipt in bus.publish_all(&orders).await {
                received(receipt?)?;
            }
        }
        let run = watch.rate(messages);
        let _ = bus.drain(DRAIN).await?;
        Ok(run)
    })
}

pub(super) fn consume(messages: u64, concurrency: usize) -> Result<Run> {
    let folder = folder()?;
    runtime()?.block_on(async {
        prepare(&file(&folder)).await?;
        fill(&file(&folder), messages, 0)?;
        let sqlite = Sqlite::open(file(&folder)).await?;
        let watch = Stopwatch::start();
        handle_all(sqlite, messages, concurrency).await?;
        Ok(watch.rate(messages))
    })
}

/// Starts a bus that ends when all is handled and settled.
pub(super) async fn handle_all(sqlite: Sqlite, messages: u64, concurrency: usize) -> Result<()> {
    let done = Completion::of(messages);
    let count = done.clone();
    let handler = move |order: OrderPlaced| {
        black_box(&order);
        count.count(order.number());
        std::future::ready(())
    };
    let endpoint =
        Endpoint::new(QUEUE).subscribe::<OrderPlaced>().concurrency(concurrency).handle(handler);
    let bus = Bus::builder(sqlite).endpoint(endpoint).start().await?;
    done.wait().await;
    let _ = bus.drain(DRAIN).await?;
    Ok(())
}

pub(super) fn end_to_end(messages: u64) -> Result<Run> {
    let folder = folder()?;
    runtime()?.block_on(async {
        prepare(&file(&folder)).await?;
        let latencies = Latencies::of(messages);
        let sqlite = Sqlite::open(file(&folder)).await?;
        let bus = Bus::builder(sqlite).endpoint(listening(&latencies)).start().await?;
        let watch = Stopwatch::start();
        publish_paced(&bus, messages).await?;
        latencies.done.wait().await;
        let run = latencies.run(&watch, messages);
        let _ = bus.drain(DRAIN).await?;
        Ok(run)
    })
}

/// Notes how long each order was on its way.
pub(crate) fn listening(latencies: &Latencies) -> Endpoint {
    let latencies = latencies.clone();
    let handler = move |order: OrderPlaced| {
        latencies.note(&order);
        std::future::ready(())
    };
    Endpoint::new(QUEUE).subscribe::<OrderPlaced>().handle(handler)
}

pub(super) async fn publish_paced(bus: &Bus, messages: u64) -> Result<()> {
    let publish = |order: OrderPlaced| {
        let bus = bus.clone();
        async move { received(bus.publish(&order).await?) }
    };
    paced(messages, PACE, publish).await
}

/// A bus that publishes and handles nothing.
pub(super) async fn publisher(path: &Path) -> Result<Bus> {
    Ok(Bus::builder(Sqlite::open(path).await?).publishes::<OrderPlaced>().start().await?)
}

fn received(receipt: Receipt) -> Result<()> {
    match receipt.routed {
        Some(true) => Ok(()),
        _ => Err("a message went to no queue".into()),
    }
}
