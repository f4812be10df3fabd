//! A process that handles everything, and writes what it does into the same file.

use super::elsewhere;
use super::message::{Fate, Forwarded, Noted, Placed};
use super::processes::Round;
use std::time::Duration;
use tramline::core::capabilities::Ordering;
use tramline::core::clock::{Clock, SystemClock};
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
/// Writes to another file: exactly once.
pub(crate) const ELSEWHERE: &str = "elsewhere";
/// Handles what was published beside that, and relayed: exactly once.
pub(crate) const FORWARDED: &str = "forwarded";

pub(crate) const ENDPOINTS_OF_PLACED: [&str; 5] = [LEDGER, AUDIT, PLAIN, ORDERED, ELSEWHERE];

/// For how long what was handled is known again: longer than anything may come twice.
pub(crate) const INBOX_RETENTION: Duration = Duration::from_secs(120);

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
        let sqlite = open(&self.round, FILE).await?;
        create(&sqlite).await?;
        let per_key = QueueSpec {
            ordering: Ordering::PerKey,
            ..QueueSpec::new(QueueName::new(ORDERED).map_err(|bad| bad.to_string())?)
        };
        let elsewhere = elsewhere::start(&self.round).await?;
        let bus = Bus::builder(sqlite.clone())
            .store(sqlite.clone())
            .state(sqlite)
            .inbox_retention(INBOX_RETENTION)
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
            .endpoint(
                Endpoint::new(FORWARDED)
                    .subscribe::<Forwarded>()
                    .concurrency(4)
                    .transactional()
                    .handle(receive),
            )
            .start()
            .await
            .map_err(|error| error.to_string())?;
        let (here, there) = tokio::join!(bus.run(DRAIN_LIMIT), elsewhere.run(DRAIN_LIMIT));
        here.and(there).map(|_| ()).map_err(|error| error.to_string())
    }
}

/// A file of the round, with short leases and a short log.
pub(crate) async fn open(round: &Round, file: &str) -> Result<Sqlite, String> {
    // What is killed loses nothing in either way, only what loses its power does.
    let sync = if round.seed.is_multiple_of(2) { Sync::Full } else { Sync::Normal };
    let options = Sqlite::options(round.folder.join(file)).lease(LEASE).sync(sync);
    options.wal_limit(WAL_LIMIT_BYTES).open().await.map_err(|error| error.to_string())
}

/// The table of effects, without any constraint: what happens twice stands there twice.
pub(crate) async fn create(sqlite: &Sqlite) -> Result<(), String> {
    let sql = "CREATE TABLE IF NOT EXISTS effect
         (id INTEGER PRIMARY KEY, endpoint TEXT, number INTEGER, key TEXT, late INTEGER)";
    let created = sqlite.write(move |db| Ok(db.execute(sql, []).map(|_| ())?)).await;
    created.map_err(|failure| failure.to_string())
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
        effect(db, LEDGER, &placed)?;
        db.publish(&Noted(placed.clone()))
    })
}

async fn arrange(placed: Placed, Attempt(run): Attempt, tx: Tx<Sqlite>) -> Result<(), Failure> {
    fail_as_told(placed.number, run)?;
    tx.write(move |db| effect(db, ORDERED, &placed))
}

async fn audit(items: Vec<Item<Placed>>, tx: Tx<Sqlite>) -> Result<(), Failure> {
    for Item { message, .. } in items {
        tx.write(move |db| effect(db, AUDIT, &message))?;
    }
    Ok(())
}

async fn write(placed: Placed, State(sqlite): State<Sqlite>) -> Result<(), Failure> {
    sqlite.write(move |db| effect(db, PLAIN, &placed)).await
}

async fn note(Noted(placed): Noted, tx: Tx<Sqlite>) -> Result<(), Failure> {
    tx.write(move |db| effect(db, NOTES, &placed))
}

async fn receive(Forwarded(placed): Forwarded, tx: Tx<Sqlite>) -> Result<(), Failure> {
    tx.write(move |db| effect(db, FORWARDED, &placed))
}

/// Writes down that `endpoint` has handled `placed`, and how long after it was sent.
pub(crate) fn effect(db: &Db<'_>, endpoint: &'static str, placed: &Placed) -> Result<(), Failure> {
    let Placed { number, key, since } = placed;
    let late = SystemClock.now().as_micros() - since;
    let insert = "INSERT INTO effect (endpoint, number, key, late) VALUES (?1, ?2, ?3, ?4)";
    db.execute(insert, (endpoint, number.cast_signed(), key, late))?;
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
