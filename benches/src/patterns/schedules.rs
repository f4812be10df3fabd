//! Named schedules on SQLite: a million put into the file, beside a table by hand; how late they leave; what it
//! costs to wait for them.

use crate::folder::{file, folder};
use crate::hand::{QUEUE, prepare};
use crate::latency::Latencies;
use crate::load::runtime;
use crate::message::OrderPlaced;
use crate::round::{Figure, Run};
use crate::stopwatch::Stopwatch;
use crate::{Result, cpu};
use rusqlite::{Connection, params};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};
use tramline::core::clock::{Clock, SystemClock, Timestamp};
use tramline::{Bus, Endpoint, Sqlite};

pub(super) const LATE: &[Figure] = &[
    Figure { name: "late p50", unit: "ms" },
    Figure { name: "late p99", unit: "ms" },
    Figure { name: "late at most", unit: "ms" },
];
pub(super) const SHARE: &[Figure] = &[Figure { name: "", unit: "% core" }];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How many are put by one call, and by one transaction of the twin.
const TOGETHER: u64 = 10_000;
const TOGETHER_BY_HAND: u64 = 1000;
/// How many wait for another day while others leave, and while nothing does.
const BACKLOG: u64 = 1_000_000;
const BACKLOG_IDLE: u64 = 100_000;
const DRAIN: Duration = Duration::from_secs(60);

pub(super) fn put(schedules: u64) -> Result<Run> {
    let folder = folder()?;
    runtime()?.block_on(async {
        prepare(&file(&folder)).await?;
        let store = Sqlite::open(file(&folder)).await?;
        let bus = Bus::builder(store.clone()).schedules(&store).start().await?;
        let watch = Stopwatch::start();
        put_far(&bus, schedules).await?;
        let run = watch.rate(schedules);
        let _ = bus.drain(DRAIN).await?;
        Ok(run)
    })
}

async fn put_far(bus: &Bus, schedules: u64) -> Result<()> {
    for first in (0..schedules).step_by(TOGETHER as usize) {
        let numbers = first..schedules.min(first + TOGETHER);
        let orders: Vec<_> = numbers.map(OrderPlaced::new).collect();
        let named = orders.iter().map(|order| (name(order.number()), DAY, order));
        bus.schedule_all(named).await?;
    }
    Ok(())
}

fn name(number: u64) -> String {
    format!("reminder:{number}")
}

/// What one would write: a table with a name and a time, an index for each, and transactions of a thousand rows.
pub(super) fn put_by_hand(schedules: u64) -> Result<Run> {
    const TABLE: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
        CREATE TABLE schedule (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, due INTEGER NOT NULL, body TEXT);
        CREATE INDEX schedule_due ON schedule (due);";
    const PUT: &str = "INSERT INTO schedule (name, due, body) VALUES (?1, ?2, ?3)
        ON CONFLICT (name) DO UPDATE SET due = ?2, body = ?3";
    let folder = folder()?;
    let mut connection = Connection::open(file(&folder))?;
    connection.execute_batch(TABLE)?;
    let watch = Stopwatch::start();
    for first in (0..schedules).step_by(TOGETHER_BY_HAND as usize) {
        let transaction = connection.transaction()?;
        {
            let mut put = transaction.prepare_cached(PUT)?;
            for number in first..schedules.min(first + TOGETHER_BY_HAND) {
                let due = SystemClock.now().after(DAY).as_micros();
                let body = serde_json::to_string(&OrderPlaced::new(number))?;
                put.execute(params![name(number), due, body])?;
            }
        }
        transaction.commit()?;
    }
    Ok(watch.rate(schedules))
}

/// They are due at times that are spread over ten seconds, and their handler notes how late it is.
pub(super) fn leave(schedules: u64) -> Result<Run> {
    let folder = folder()?;
    runtime()?.block_on(async {
        prepare(&file(&folder)).await?;
        let store = Sqlite::open(file(&folder)).await?;
        let arrivals = Latencies::of(schedules);
        let note = arrivals.clone();
        let handler = move |order: OrderPlaced| {
            note.note(&order);
            std::future::ready(())
        };
        let endpoint = Endpoint::new(QUEUE).subscribe::<OrderPlaced>().handle(handler);
        let bus = Bus::builder(store.clone()).schedules(&store).endpoint(endpoint);
        let bus = bus.start().await?;
        put_far(&bus, BACKLOG).await?;
        let (first_due, spread) = (SystemClock.now().after(SETTLING), Duration::from_secs(10));
        let due = |number: u64| first_due.after(spread.mul_f64(number as f64 / schedules as f64));
        let orders: Vec<OrderPlaced> = (0..schedules)
            .map(|number| {
                let mut order = OrderPlaced::new(number);
                order.placed_at = due(number).as_micros();
                order
            })
            .collect();
        let named = orders.iter().map(|order| {
            (format!("due:{}", order.number()), Timestamp::from_micros(order.placed_at), order)
        });
        bus.schedule_all(named).await?;
        let watch = Stopwatch::start();
        timeout(DRAIN, arrivals.done.wait()).await.map_err(|_| "schedules have not left")?;
        let run = watch.run(schedules, arrivals.percentiles(&[50, 99, 100]));
        let _ = bus.drain(DRAIN).await?;
        Ok(run)
    })
}

/// What the start leaves behind is done by then.
const SETTLING: Duration = Duration::from_secs(2);

/// Nothing is due.
pub(super) fn idle(_: u64) -> Result<Run> {
    const IDLE: Duration = Duration::from_secs(10);
    let folder = folder()?;
    runtime()?.block_on(async {
        prepare(&file(&folder)).await?;
        let store = Sqlite::open(file(&folder)).await?;
        let bus = Bus::builder(store.clone()).schedules(&store).start().await?;
        put_far(&bus, BACKLOG_IDLE).await?;
        sleep(SETTLING).await;
        let (began, before) = (Instant::now(), cpu::used());
        sleep(IDLE).await;
        let used = cpu::used() - before;
        let share = 100.0 * used.as_secs_f64() / began.elapsed().as_secs_f64();
        let _ = bus.drain(DRAIN).await?;
        Ok(Run { values: vec![share], cpu_micros: used.as_secs_f64() * 1e6 })
    })
}
