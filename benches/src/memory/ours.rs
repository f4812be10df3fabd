//! Ours: a bus on the static driver.

use super::cases::{CONCURRENCY, PRODUCERS};
use crate::completion::Completion;
use crate::load::{call, one_thread, runtime};
use crate::message::OrderPlaced;
use crate::round::Run;
use crate::stopwatch::Stopwatch;
use crate::{Result, memory::twin};
use std::hint::black_box;
use std::time::Duration;
use tramline::pipeline::{Context, Layer, Outcome, Step};
use tramline::{Bus, Endpoint, Memory};

const DRAIN: Duration = Duration::from_secs(10);

pub(super) fn end_to_end(messages: u64) -> Result<Run> {
    runtime()?.block_on(async {
        let done = Completion::of(messages);
        let bus = Bus::builder(Memory::new()).endpoint(endpoint(&done)).start().await?;
        let watch = Stopwatch::start();
        publish(&bus, messages).await?;
        done.wait().await;
        let run = watch.rate(messages);
        let _ = bus.drain(DRAIN).await?;
        Ok(run)
    })
}

pub(super) fn produce(messages: u64) -> Result<Run> {
    runtime()?.block_on(async {
        let memory = subscribed().await?;
        let bus = Bus::builder(memory).publishes::<OrderPlaced>().start().await?;
        let watch = Stopwatch::start();
        publish(&bus, messages).await?;
        Ok(watch.rate(messages))
    })
}

pub(super) fn consume(messages: u64) -> Result<Run> {
    runtime()?.block_on(async {
        let memory = backlog(messages).await?;
        let watch = Stopwatch::start();
        handle_all(memory, messages, |endpoint| endpoint).await?;
        Ok(watch.rate(messages))
    })
}

pub(super) fn consume_on_one_thread(messages: u64) -> Result<Run> {
    costs(messages, |endpoint| endpoint)
}

pub(super) fn consume_through_layers(messages: u64) -> Result<Run> {
    costs(messages, |endpoint| (0..6).fold(endpoint, |endpoint, _| endpoint.layer(PassThrough)))
}

/// Time and allocations of the consumer, on one thread.
fn costs(messages: u64, change: impl Fn(Endpoint) -> Endpoint) -> Result<Run> {
    let runtime = one_thread()?;
    let memory = runtime.block_on(backlog(messages))?;
    twin::costs(messages, || runtime.block_on(handle_all(memory, messages, &change)))
}

/// A layer that does nothing.
struct PassThrough;

impl Layer for PassThrough {
    async fn around<N: Step>(&self, cx: &mut Context, next: &N) -> Outcome {
        next.run(cx).await
    }
}

fn endpoint(done: &Completion) -> Endpoint {
    let done = done.clone();
    let handler = move |order: OrderPlaced| {
        black_box(&order);
        done.count(order.number());
        std::future::ready(())
    };
    Endpoint::new("orders").subscribe::<OrderPlaced>().concurrency(CONCURRENCY).handle(handler)
}

async fn publish(bus: &Bus, messages: u64) -> Result<()> {
    let bus = bus.clone();
    call(PRODUCERS, messages, move |number| {
        let bus = bus.clone();
        async move {
            bus.publish(&OrderPlaced::new(number)).await?;
            Ok(())
        }
    })
    .await
}

/// A memory with a queue that has subscribed, and nobody who reads it.
async fn subscribed() -> Result<Memory> {
    let memory = Memory::new();
    let nobody = endpoint(&Completion::of(1));
    let bus = Bus::builder(memory.clone()).endpoint(nobody).start().await?;
    let _ = bus.drain(DRAIN).await?;
    Ok(memory)
}

async fn backlog(messages: u64) -> Result<Memory> {
    let memory = subscribed().await?;
    let bus = Bus::builder(memory.clone()).publishes::<OrderPlaced>().start().await?;
    publish(&bus, messages).await?;
    Ok(memory)
}

/// Starts a bus that ends when all is handled and settled.
async fn handle_all(
    memory: Memory,
    messages: u64,
    change: impl Fn(Endpoint) -> Endpoint,
) -> Result<()> {
    let done = Completion::of(messages);
    let bus = Bus::builder(memory).endpoint(change(endpoint(&done))).start().await?;
    done.wait().await;
    let _ = bus.drain(DRAIN).await?;
    Ok(())
}
