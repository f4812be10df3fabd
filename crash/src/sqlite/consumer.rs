//! A process that handles everything, and writes what it does into the same file.

use super::message::{Fate, Noted, Placed};
use super::processes::Round;
use std::path::Path;
use std::time::Duration;
use tramline::core::capabilities::Ordering;
use tramline::sqlite::{Db, Sync};
use tramline::{
    Attempt, Bus, Endpoint, Failure, Item, QueueName, QueueSpec, Retry, Sqlite, State, Tx,
};

/// The name of the file that all processes of a round work on.
pub(crate) const FILE: &str = "bus.db";

/// How long a stopped process keeps what it took.
pub(crate) const LEASE: Duration = Duration::from_millis(600);

/// From which size on the log begins anew.
pub(crate) const WAL_LIMIT_BYTES: u64 = 1024 * 1024;

/// The effects of each: exactly once.
pub(crate) const LEDGER: &str = "ledger";
/// Takes many at once: exactly once.
pub(crate) const AUDIT: &str = "audit";
/// Not transactional: at least once.
pub(crate) const PLAIN: &str = "plain";
/// Keeps the order of keys, also while what failed waits for its next run: exactly once.
pub(crate) const ORDERED: &str = "ordered";
/// Handles what the ledger has published: exactly once.
pub(crate) const NOTES: &str = "notes";

pub(crate) const ENDPOINTS_OF_PLACED: [&str; 4] = [LEDGER, AUDIT, PLAIN, ORDERED];

/// How long handlers may finish when the process is told to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// What a consumer works with.
#[derive(clap::Args)]
pub(crate) struct Consumer {
    #[command(flatten)]
    pub(crate) round: Round,
}

impl Consumer {
    pub(crate) async fn run(&self) -> Result<(), String> {
        let sqlite = open(&self.round.folder, self.round.seed).await?;
        // Without any constraint: what happens twice stands there twice.
        let create = "CREATE TABLE IF NOT EXISTS effect
             (id INTEGER PRIMARY KEY, endpoint TEXT, number INTEGER, key TEXT)";
        let created = sqlite.write(move |db| Ok(db.execute(create, []).map(|_| ())?)).await;
        created.map_err(|failure| failure.to_string())?;
        let per_key = QueueSpec {
            ordering: Ordering::PerKey,
            ..QueueSpec::new(QueueName::new(ORDERED).map_err(|bad| bad.to_string())?)
        };
        let bus = Bus::builder(sqlite.clone())
            .store(sqlite.clone())
            .state(sqlite)
            .endpoint(
                Endpoint::new(LEDGER)
                    .subscribe::<Placed>()
                    .retry(retry())
                    .concurrency(8)
                    .transactional()
                    .handle(book),
            )
            .endpoint(
                Endpoint::new(AUDIT)
                    .subscribe::<Placed>()
                    .batch(16, Duration::from_millis(2))
                    .concurrency(2)
                    .transactional()
                    .handle_batch(audit),
            )
            .endpoint(
                Endpoint::new(ORDERED)
                    .queue_spec(per_key)
                    .subscribe::<Placed>()
                    .retry(retry())
                    .concurrency(8)
                    .transactional()
                    .handle(arrange),
            )
            .endpoint(Endpoint::new(PLAIN).subscribe::<Placed>().concurrency(4).handle(write))
            .endpoint(Endpoint::new(NOTES).subscribe::<Noted>().transactional().handle(note))
            .start()
            .await
            .map_err(|error| error.to_string())?;
        let drained = bus.run(DRAIN_LIMIT).await;
        drained.map(|_| ()).map_err(|error| error.to_string())
    }
}

/// The file with short leases and a short log.
pub(crate) async fn open(folder: &Path, seed: u64) -> Result<Sqlite, String> {
    // What is killed loses nothing in either way, only what loses its power does.
    let sync = if seed.is_multiple_of(2) { Sync::Full } else { Sync::Normal };
    let options = Sqlite::options(folder.join(FILE)).lease(LEASE).sync(sync);
    options.wal_limit(WAL_LIMIT_BYTES).open().await.map_err(|error| error.to_string())
}

/// Once more in place, once more through the file: pauses over a second go back to the queue.
fn retry() -> Retry {
    Retry::list([Duration::from_millis(5), Duration::from_millis(1100)])
}

async fn book(placed: Placed, Attempt(run): Attempt, tx: Tx<Sqlite>) -> Result<(), Failure> {
    fail_as_told(placed.number, run)?;
    // Time to be killed in.
    tokio::time::sleep(Duration::from_millis(placed.number % 3)).await;
    tx.write(move |db| {
        effect(db, LEDGER, placed.number, &placed.key)?;
        db.publish(&Noted { number: placed.number })
    })
}

async fn arrange(placed: Placed, Attempt(run): Attempt, tx: Tx<Sqlite>) -> Result<(), Failure> {
    fail_as_told(placed.number, run)?;
    tx.write(move |db| effect(db, ORDERED, placed.number, &placed.key))
}

async fn audit(items: Vec<Item<Placed>>, tx: Tx<Sqlite>) -> Result<(), Failure> {
    for Item { message, .. } in items {
        tx.write(move |db| effect(db, AUDIT, message.number, &message.key))?;
    }
    Ok(())
}

async fn write(placed: Placed, State(sqlite): State<Sqlite>) -> Result<(), Failure> {
    sqlite.write(move |db| effect(db, PLAIN, placed.number, &placed.key)).await
}

async fn note(noted: Noted, tx: Tx<Sqlite>) -> Result<(), Failure> {
    tx.write(move |db| effect(db, NOTES, noted.number, ""))
}

fn effect(db: &Db<'_>, endpoint: &'static str, number: u64, key: &str) -> Result<(), Failure> {
    let insert = "INSERT INTO effect (endpoint, number, key) VALUES (?1, ?2, ?3)";
    db.execute(insert, (endpoint, number.cast_signed(), key))?;
    Ok(())
}

fn fail_as_told(number: u64, run: u32) -> Result<(), Failure> {
    match Fate::of(number) {
        Fate::Handled => Ok(()),
        Fate::HandledAfter(failures) if run > failures => Ok(()),
        Fate::HandledAfter(_) | Fate::DeadAfterAll => Err(Failure::retryable("not yet")),
        Fate::DeadAtOnce => Err(Failure::permanent("never")),
    }
}
