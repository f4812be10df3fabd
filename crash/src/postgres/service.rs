//! What handles the messages: a bus with the endpoints that a scenario asks for, whose store is the
//! database that they come through.

use super::planted::Bug;
use crate::journal::Journal;
use crate::servers::{DIES, KILLS, Noted, Placed, Record, drain};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tramline::postgres::sqlx;
use tramline::postgres::sqlx::postgres::PgPool;
use tramline::{Attempt, Bus, Endpoint, Failure, Ordering, Postgres, Retry, State, Tx};

/// Without a store: at least once.
pub(crate) const PLAIN: &str = "plain";
/// Writes an effect and publishes a follow-up in one transaction, with the ack: exactly once.
pub(crate) const BOOKED: &str = "booked";
/// Handles the follow-ups: exactly once.
pub(crate) const NOTED: &str = "noted";
/// Keeps the order of keys, also while what failed waits for its next run: exactly once.
pub(crate) const ORDERED: &str = "ordered";

/// Longer than the pauses that are slept through in place, so it goes through the queue.
const RETRY_PAUSE: Duration = Duration::from_millis(1100);
/// Who meets a server that is away, or a connection that was cut, has failed, too.
const RUNS_MAX: u32 = 60;

/// How a scenario's messages are handled.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Service {
    /// The database
    pub(crate) url: String,
    /// Which endpoints there are
    #[arg(long, value_delimiter = ',')]
    pub(crate) endpoints: Vec<String>,
    /// Milliseconds that a handler takes for a message
    #[arg(long, default_value_t = 0)]
    pub(crate) millis: u64,
    /// Messages taken ahead
    #[arg(long, default_value_t = 200)]
    pub(crate) prefetch: u32,
    /// Milliseconds that a dead process keeps what it took
    #[arg(long, default_value_t = 30_000)]
    pub(crate) lease: u64,
    /// What handlers do wrong
    #[arg(long)]
    pub(crate) plant: Option<Bug>,
}

impl Service {
    pub(crate) fn new(url: String, endpoints: &[&str]) -> Self {
        let endpoints = endpoints.iter().map(|endpoint| (*endpoint).to_owned()).collect();
        Self { url, endpoints, millis: 0, prefetch: 200, lease: 30_000, plant: None }
    }

    /// Begins to handle. `process` tells its journals from those of others.
    pub(crate) async fn start(&self, record: &Record, process: &str) -> Result<Bus, String> {
        let options = Postgres::options(&self.url).lease(Duration::from_millis(self.lease));
        let postgres = options.open().await.map_err(|error| error.to_string())?;
        let journal = record.of_endpoint(PLAIN, process).map_err(|error| error.to_string())?;
        let apart = (self.plant == Some(Bug::WritesApart)).then(|| postgres.pool().clone());
        let handling = Arc::new(Handling {
            journal: Mutex::new(journal),
            takes: Duration::from_millis(self.millis),
            apart,
        });
        let mut builder = Bus::builder(postgres.clone()).store(postgres).state(handling);
        for endpoint in &self.endpoints {
            builder = builder.endpoint(self.endpoint(endpoint)?);
        }
        builder.start().await.map_err(|error| error.to_string())
    }

    /// Declares everything, and handles nothing but by chance.
    pub(crate) async fn declare(&self, record: &Record) -> Result<(), String> {
        drain(&self.start(record, "declarer").await?).await
    }

    fn endpoint(&self, name: &str) -> Result<Endpoint, String> {
        let retry = Retry::fixed(RETRY_PAUSE).runs(RUNS_MAX);
        let endpoint = Endpoint::new(name).retry(retry).concurrency(16).prefetch(self.prefetch);
        Ok(match name {
            PLAIN => endpoint.subscribe::<Placed>().handle(write_down),
            BOOKED => endpoint.subscribe::<Placed>().transactional().handle(book),
            NOTED => endpoint.subscribe::<Noted>().transactional().handle(note),
            ORDERED => {
                let endpoint = endpoint.subscribe::<Placed>().ordering(Ordering::PerKey);
                endpoint.transactional().handle(arrange)
            }
            _ => return Err(format!("there is no endpoint {name}")),
        })
    }
}

/// What handlers work with.
struct Handling {
    journal: Mutex<Journal>,
    takes: Duration,
    /// Where handlers write outside of their transactions, which is wrong.
    apart: Option<PgPool>,
}

type Shared = State<Arc<Handling>>;

async fn write_down(
    placed: Placed,
    Attempt(run): Attempt,
    State(handling): Shared,
) -> Result<(), Failure> {
    if placed.fails == DIES {
        return Err(Failure::permanent("never"));
    }
    fail_as_told(&placed, run)?;
    tokio::time::sleep(handling.takes).await;
    let noted: io::Result<()> = handling.journal.lock().note(&[placed.number]);
    noted.map_err(Failure::from)
}

async fn book(
    placed: Placed,
    Attempt(run): Attempt,
    State(handling): Shared,
    mut tx: Tx<Postgres>,
) -> Result<(), Failure> {
    if placed.fails == KILLS {
        std::process::abort();
    }
    // Whose follow-up is waited for must not die.
    if placed.fails != DIES {
        fail_as_told(&placed, run)?;
    }
    tx.publish(&Noted { number: placed.number })?;
    effect(&mut tx, BOOKED, placed.number, "", &handling).await
}

async fn note(noted: Noted, State(handling): Shared, mut tx: Tx<Postgres>) -> Result<(), Failure> {
    effect(&mut tx, NOTED, noted.number, "", &handling).await
}

async fn arrange(
    placed: Placed,
    Attempt(run): Attempt,
    State(handling): Shared,
    mut tx: Tx<Postgres>,
) -> Result<(), Failure> {
    if placed.fails == DIES {
        return Err(Failure::permanent("never"));
    }
    fail_as_told(&placed, run)?;
    effect(&mut tx, ORDERED, placed.number, &placed.key, &handling).await
}

/// Writes down that `endpoint` has handled a message, and takes its time.
async fn effect(
    tx: &mut Tx<Postgres>,
    endpoint: &str,
    number: u64,
    key: &str,
    handling: &Handling,
) -> Result<(), Failure> {
    const SQL: &str = "INSERT INTO effect (endpoint, number, key) VALUES ($1, $2, $3)";
    let insert = sqlx::query(SQL).bind(endpoint).bind(number.cast_signed()).bind(key);
    match &handling.apart {
        Some(pool) => insert.execute(pool).await?,
        None => insert.execute(tx.connection().await?).await?,
    };
    tokio::time::sleep(handling.takes).await;
    Ok(())
}

fn fail_as_told(placed: &Placed, run: u32) -> Result<(), Failure> {
    if run <= placed.fails { Err(Failure::retryable("not yet")) } else { Ok(()) }
}
