//! What a bus costs that has nothing to do.

use crate::folder::{file, folder};
use crate::hand::prepare;
use crate::latency::Latencies;
use crate::load::runtime;
use crate::message::OrderPlaced;
use crate::round::{Amount, Case, Figure, Run};
use crate::sqlite::listening;
use crate::{Bench, Result, cpu};
use std::time::{Duration, Instant};
use tokio::time::sleep;
use tramline::core::transport::Transport;
use tramline::{Bus, Memory, Sqlite};

/// What the start leaves behind is done by then.
const SETTLING: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(10);

const SHARE: &[Figure] = &[Figure { name: "", unit: "% core" }];

pub(crate) fn cases(bench: Bench) -> Vec<Case> {
    vec![Case {
        name: "idle, one endpoint".to_owned(),
        figures: SHARE,
        amount: Amount::Fixed(1),
        ours: match bench {
            Bench::Memory => Box::new(on_memory),
            _ => Box::new(on_sqlite),
        },
        twin: None,
    }]
}

fn on_memory(messages: u64) -> Result<Run> {
    runtime()?.block_on(idle(Memory::new(), messages))
}

fn on_sqlite(messages: u64) -> Result<Run> {
    let folder = folder()?;
    runtime()?.block_on(async {
        prepare(&file(&folder)).await?;
        idle(Sqlite::open(file(&folder)).await?, messages).await
    })
}

/// A bus that has handled something and waits for more.
async fn idle<T: Transport>(transport: T, messages: u64) -> Result<Run> {
    let latencies = Latencies::of(messages);
    let bus = Bus::builder(transport).endpoint(listening(&latencies)).start().await?;
    for number in 0..messages {
        bus.publish(&OrderPlaced::new(number)).await?;
    }
    latencies.done.wait().await;
    sleep(SETTLING).await;
    let (began, before) = (Instant::now(), cpu::used());
    sleep(IDLE).await;
    let (used, took) = (cpu::used() - before, began.elapsed());
    let _ = bus.drain(Duration::from_secs(10)).await?;
    let share = 100.0 * used.as_secs_f64() / took.as_secs_f64();
    Ok(Run { values: vec![share], cpu_micros: used.as_secs_f64() * 1e6 })
}
