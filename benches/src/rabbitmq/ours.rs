//! Ours: a bus on the driver.

use super::broker;
use super::cases::CONCURRENCY;
use super::twin;
use crate::completion::Completion;
use crate::delayed::leave;
use crate::latency::{Latencies, PACE, publish_each as each};
use crate::load::{call, runtime};
use crate::message::OrderPlaced;
use crate::round::Run;
use crate::stopwatch::Stopwatch;
use crate::{Result, latency, table};
use std::hint::black_box;
use std::time::Duration;
use tramline::{Bus, BusBuilder, Endpoint, RabbitMq};

const DRAIN: Duration = Duration::from_secs(60);
pub(super) const QUEUE: &str = "bench-orders";

pub(super) fn publish(messages: u64, callers: u64) -> Result<Run> {
    runtime()?.block_on(async {
        let bus = publisher().await?;
        let watch = Stopwatch::start();
        let through = bus.clone();
        call(callers, messages, move |number| {
            let bus = through.clone();
            async move { Ok(bus.send(QUEUE, &OrderPlaced::new(number)).await.map(drop)?) }
        })
        .await?;
        let run = watch.rate(messages);
        end(bus).await?;
        Ok(run)
    })
}

pub(super) fn publish_each(messages: u64) -> Result<Run> {
    runtime()?.block_on(async {
        let bus = publisher().await?;
        let through = bus.clone();
        let run = each(messages, move |order| {
            let bus = through.clone();
            async move { Ok(bus.send(QUEUE, &order).await.map(drop)?) }
        })
        .await?;
        end(bus).await?;
        Ok(run)
    })
}

pub(super) fn consume(messages: u64) -> Result<Run> {
    runtime()?.block_on(async {
        declared().await?;
        twin::fill(QUEUE, messages).await?;
        let builder = builder().await?;
        let done = Completion::of(messages);
        let count = done.clone();
        let handler = move |order: OrderPlaced| {
            black_box(&order);
            count.count(order.number());
            std::future::ready(())
        };
        let watch = Stopwatch::start();
        let endpoint = Endpoint::new(QUEUE).concurrency(CONCURRENCY).handle(handler);
        let bus = builder.endpoint(endpoint).start().await?;
        done.wait().await;
        // The last acks leave within two milliseconds. A drain leaves the broker a quarter of a second to
        // heed them, which the twin does not.
        let run = watch.rate(messages);
        let _ = bus.drain(DRAIN).await?;
        table::came_again(done.again());
        Ok(run)
    })
}

pub(super) fn end_to_end(messages: u64) -> Result<Run> {
    runtime()?.block_on(async {
        declared().await?;
        let latencies = Latencies::of(messages);
        let bus = builder().await?.endpoint(listening(&latencies)).start().await?;
        let watch = Stopwatch::start();
        latency::paced(messages, PACE, |order| {
            let bus = bus.clone();
            async move { Ok(bus.send(QUEUE, &order).await.map(drop)?) }
        })
        .await?;
        latencies.done.wait().await;
        let run = latencies.run(&watch, messages);
        end(bus).await?;
        Ok(run)
    })
}

pub(super) fn delayed(messages: u64) -> Result<Run> {
    const HEAD_START: Duration = Duration::from_secs(10);
    const SPREAD: Duration = Duration::from_secs(60);
    runtime()?.block_on(async {
        let connection = broker::connect().await?;
        broker::gone(&connection, crate::hand::QUEUE).await?;
        leave(RabbitMq::connect(&broker::url()?).await?, messages, HEAD_START, SPREAD).await
    })
}

fn listening(latencies: &Latencies) -> Endpoint {
    let latencies = latencies.clone();
    let handler = move |order: OrderPlaced| {
        latencies.note(&order);
        std::future::ready(())
    };
    Endpoint::new(QUEUE).handle(handler)
}

async fn builder() -> Result<BusBuilder<RabbitMq>> {
    Ok(Bus::builder(RabbitMq::connect(&broker::url()?).await?))
}

/// The queue is there, as the bus declares it, and empty.
async fn declared() -> Result<()> {
    let connection = broker::connect().await?;
    broker::gone(&connection, QUEUE).await?;
    let endpoint = Endpoint::new(QUEUE).handle(|_: OrderPlaced| std::future::ready(()));
    let bus = builder().await?.endpoint(endpoint).start().await?;
    let _ = bus.drain(DRAIN).await?;
    Ok(())
}

async fn publisher() -> Result<Bus> {
    declared().await?;
    Ok(builder().await?.start().await?)
}

async fn end(bus: Bus) -> Result<()> {
    let _ = bus.drain(DRAIN).await?;
    broker::purge(&broker::connect().await?, QUEUE).await
}
