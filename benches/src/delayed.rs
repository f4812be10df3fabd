//! Messages that wait for their time: how late each of them leaves.

use crate::folder::{file, folder};
use crate::hand::{QUEUE, prepare};
use crate::latency::Latencies;
use crate::load::{call, runtime};
use crate::message::OrderPlaced;
use crate::round::{Amount, Case, Figure, Run};
use crate::stopwatch::Stopwatch;
use crate::{Bench, Result};
use std::time::Duration;
use tokio::time::timeout;
use tramline::core::clock::{Clock, SystemClock, Timestamp};
use tramline::core::transport::Transport;
use tramline::{Bus, Endpoint, Memory, Sqlite};

const MESSAGES: u64 = 100_000;
/// From the first call that publishes to the first due time: all must be there by then.
const HEAD_START: Duration = Duration::from_secs(30);
/// From the first due time to the last.
const SPREAD: Duration = Duration::from_secs(20);
/// What has not come so long after the last due time is lost.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const LATE: &[Figure] = &[
    Figure { name: "late at least", unit: "ms" },
    Figure { name: "late p50", unit: "ms" },
    Figure { name: "late p99", unit: "ms" },
    Figure { name: "late at most", unit: "ms" },
    Figure { name: "came again", unit: "msg" },
];

pub(crate) fn cases(bench: Bench) -> Vec<Case> {
    vec![Case {
        name: "delayed messages".to_owned(),
        figures: LATE,
        amount: Amount::Fixed(MESSAGES),
        ours: match bench {
            Bench::Memory => Box::new(on_memory),
            _ => Box::new(on_sqlite),
        },
        twin: None,
    }]
}

fn on_memory(messages: u64) -> Result<Run> {
    runtime()?.block_on(leave(Memory::new(), messages, HEAD_START, SPREAD))
}

fn on_sqlite(messages: u64) -> Result<Run> {
    let folder = folder()?;
    runtime()?.block_on(async {
        prepare(&file(&folder)).await?;
        leave(Sqlite::open(file(&folder)).await?, messages, HEAD_START, SPREAD).await
    })
}

/// Publishes messages whose due times begin `head_start` from now and are spread over `spread`.
pub(crate) async fn leave<T: Transport>(
    transport: T,
    messages: u64,
    head_start: Duration,
    spread: Duration,
) -> Result<Run> {
    let arrivals = Latencies::of(messages);
    let note = arrivals.clone();
    let handler = move |order: OrderPlaced| {
        note.note(&order);
        std::future::ready(())
    };
    let endpoint = Endpoint::new(QUEUE).subscribe::<OrderPlaced>().handle(handler);
    let bus = Bus::builder(transport).endpoint(endpoint).start().await?;
    let watch = Stopwatch::start();
    let first_due = SystemClock.now().after(head_start);
    let through = bus.clone();
    call(1000, messages, move |number| {
        let (bus, due) = (through.clone(), due(first_due, spread, number, messages));
        async move {
            let mut order = OrderPlaced::new(number);
            order.placed_at = due.as_micros();
            bus.publish(&order).at(due).await?;
            Ok(())
        }
    })
    .await?;
    if SystemClock.now() >= first_due {
        return Err("publishing took longer than the first message waits".into());
    }
    let left = first_due.after(spread).after(PATIENCE).since(SystemClock.now());
    if timeout(left, arrivals.done.wait()).await.is_err() {
        let lost = arrivals.done.left();
        return Err(format!(
            "{lost} of {messages} messages did not come {PATIENCE:?} after the last due time"
        )
        .into());
    }
    let mut values = arrivals.percentiles(&[0, 50, 99, 100]);
    values.push(arrivals.done.again() as f64);
    let run = watch.run(messages, values);
    let _ = bus.drain(Duration::from_secs(60)).await?;
    Ok(run)
}

/// Due times are spread evenly, and are in another order than the messages.
fn due(first: Timestamp, spread: Duration, number: u64, messages: u64) -> Timestamp {
    const PRIME: u64 = 7919;
    let place = number * PRIME % messages;
    first.after(spread.mul_f64(place as f64 / messages as f64))
}
