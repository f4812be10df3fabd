//! Consumes and acks a backlog with `apalis-postgres`, in its fastest form: batches of 100, a task for
//! each job.
//!
//! `tramline-peer-apalis URL MESSAGES CONCURRENCY` fills a queue, says so, waits for the end of its input,
//! works, and says how fast.

use apalis::prelude::*;
use apalis_postgres::queries::push_tasks;
use apalis_postgres::{Config, PgPool, PostgresStorage};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::hint::black_box;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const QUEUE: &str = "orders";
const BATCH: usize = 100;

/// The order of 256 bytes that the benches send.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct OrderPlaced {
    order_id: u64,
    user_id: u64,
    placed_at: i64,
    units: u32,
    total: String,
    customer: String,
    street: String,
    city: String,
    note: String,
}

impl OrderPlaced {
    fn new(number: u64) -> Self {
        Self {
            order_id: 1_000_000 + number,
            user_id: 10_000 + number % 10_000,
            placed_at: 1_795_000_000_000_000,
            units: 3,
            total: "1011.77".into(),
            customer: "Ada Lovelace".into(),
            street: "12 St James's Square".into(),
            city: "London SW1Y 4JH".into(),
            note: "leave it at the door if nobody is at home, and ring at number 14 later".into(),
        }
    }
}

/// Counts down what was handled, and stops the worker.
#[derive(Clone)]
struct Left(Arc<AtomicU64>);

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [url, messages, concurrency] = &words[..] else {
        return Err("wanted: URL MESSAGES CONCURRENCY".into());
    };
    let (messages, concurrency): (u64, usize) = (messages.parse()?, concurrency.parse()?);
    let pool = PgPool::connect(url).await?;
    PostgresStorage::setup(&pool).await?;
    fill(&pool, messages).await?;
    println!("ready");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    let config = Config::default().queue(QUEUE).batch_size(BATCH);
    let backend = PostgresStorage::<OrderPlaced>::new(&pool).with_config(config);
    let (began, used) = (Instant::now(), used());
    let worker = WorkerBuilder::new("bench")
        .backend(backend)
        .data(Left(Arc::new(AtomicU64::new(messages))))
        .concurrency(concurrency)
        .parallelize(tokio::spawn)
        .build(handle);
    worker.run().await?;
    let (took, used) = (began.elapsed(), crate::used() - used);
    println!(
        "{{\"rate\": {}, \"cpu_micros\": {}}}",
        messages as f64 / took.as_secs_f64(),
        used.as_secs_f64() * 1e6 / messages as f64
    );
    Ok(())
}

async fn handle(
    order: OrderPlaced,
    left: Data<Left>,
    worker: WorkerContext,
) -> std::result::Result<(), BoxDynError> {
    black_box(order);
    if left.0.0.fetch_sub(1, Ordering::Relaxed) == 1 {
        worker.stop()?;
    }
    Ok(())
}

/// Puts a backlog into the queue, as it is after a while: vacuumed.
async fn fill(pool: &PgPool, messages: u64) -> Result<()> {
    const AT_ONCE: usize = 5_000;
    for first in (0..messages).step_by(AT_ONCE) {
        let orders = (first..messages.min(first + AT_ONCE as u64)).map(OrderPlaced::new);
        let tasks = orders
            .map(|order| Ok(TaskBuilder::new(serde_json::to_vec(&order)?).build()))
            .collect::<Result<Vec<_>>>()?;
        push_tasks(&mut *pool.acquire().await?, QUEUE, tasks).await?;
    }
    sqlx::query("VACUUM (ANALYZE) apalis.jobs").execute(pool).await?;
    // A job is due when the clock has passed its second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(())
}

fn used() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), u32::try_from(used.tv_nsec).unwrap_or(0))
}
