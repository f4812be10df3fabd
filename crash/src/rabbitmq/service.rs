//! What handles the messages: a bus with the endpoints that a scenario asks for.

use super::planted::{self, Bug};
use crate::journal::Journal;
use crate::servers::{DIES, Noted, Placed, Record, drain};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tramline::{Attempt, Bus, Endpoint, Failure, Retry, Sqlite, Tx};

/// On a quorum queue, without a store: at least once.
pub(crate) const QUORUM: &str = "quorum";
/// On a classic queue, without a store: at least once.
pub(crate) const CLASSIC: &str = "classic";
/// Writes to a store, and publishes through its outbox: exactly once.
pub(crate) const BOOKED: &str = "booked";
/// Handles what was published there, in the same store: exactly once.
pub(crate) const NOTED: &str = "noted";

/// The store of all processes of a scenario.
pub(crate) const FILE: &str = "store.db";

/// Longer than the pauses that are slept through in place, so it goes through the broker.
const RETRY_PAUSE: Duration = Duration::from_millis(1100);
/// Within it the relay or a copy is answered, or tried again.
const SEND_LIMIT: Duration = Duration::from_secs(10);

/// How a scenario's messages are handled.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Service {
    /// The broker
    pub(crate) url: String,
    /// Which endpoints there are
    #[arg(long, value_delimiter = ',')]
    pub(crate) endpoints: Vec<String>,
    /// Milliseconds that an endpoint without a store takes for a message
    #[arg(long, default_value_t = 0)]
    pub(crate) millis: u64,
    /// Messages taken ahead
    #[arg(long, default_value_t = 200)]
    pub(crate) prefetch: u32,
    /// What the broker's driver does wrong
    #[arg(long)]
    pub(crate) plant: Option<Bug>,
}

impl Service {
    pub(crate) fn new(url: String, endpoints: &[&str]) -> Self {
        let endpoints = endpoints.iter().map(|endpoint| (*endpoint).to_owned()).collect();
        Self { url, endpoints, millis: 0, prefetch: 200, plant: None }
    }

    /// Begins to handle. `process` tells its journals from those of others.
    pub(crate) async fn start(&self, record: &Record, process: &str) -> Result<Bus, String> {
        let connected = planted::connect(&self.url, self.plant).await;
        let mut builder = connected.map_err(|error| error.to_string())?.send_limit(SEND_LIMIT);
        if self.has(BOOKED) {
            builder = builder.store(store(record).await?);
        }
        for endpoint in [QUORUM, CLASSIC].into_iter().filter(|endpoint| self.has(endpoint)) {
            let journal = record.of_endpoint(endpoint, process).map_err(|e| e.to_string())?;
            let effects = Effects { journal: Mutex::new(journal), millis: self.millis };
            builder = builder.endpoint(self.plain(endpoint, Arc::new(effects)));
        }
        if self.has(BOOKED) {
            let booked = Endpoint::new(BOOKED).subscribe::<Placed>().concurrency(32);
            builder = builder.endpoint(booked.transactional().handle(book));
        }
        if self.has(NOTED) {
            let noted = Endpoint::new(NOTED).subscribe::<Noted>().concurrency(32);
            builder = builder.endpoint(noted.transactional().handle(note));
        }
        builder.start().await.map_err(|error| error.to_string())
    }

    /// Declares everything, and handles nothing but by chance.
    pub(crate) async fn declare(&self, record: &Record) -> Result<(), String> {
        drain(&self.start(record, "declarer").await?).await
    }

    fn has(&self, endpoint: &str) -> bool {
        self.endpoints.iter().any(|asked| asked == endpoint)
    }

    fn plain(&self, name: &str, effects: Arc<Effects>) -> Endpoint {
        let mut endpoint = Endpoint::new(name).subscribe::<Placed>();
        if name == CLASSIC {
            endpoint = endpoint.argument("queue-type", "classic");
        }
        endpoint.retry(Retry::list([RETRY_PAUSE])).concurrency(16).prefetch(self.prefetch).handle(
            move |placed: Placed, Attempt(run): Attempt| {
                let effects = effects.clone();
                async move { effects.handle(&placed, run).await }
            },
        )
    }
}

/// What an endpoint without a store does.
struct Effects {
    journal: Mutex<Journal>,
    millis: u64,
}

impl Effects {
    async fn handle(&self, placed: &Placed, run: u32) -> Result<(), Failure> {
        if placed.fails == DIES {
            return Err(Failure::permanent("never"));
        }
        if run <= placed.fails {
            return Err(Failure::retryable("not yet"));
        }
        if self.millis > 0 {
            tokio::time::sleep(Duration::from_millis(self.millis)).await;
        }
        let noted: io::Result<()> = self.journal.lock().note(&[placed.number]);
        noted.map_err(Failure::from)
    }
}

async fn store(record: &Record) -> Result<Sqlite, String> {
    let opened = Sqlite::open(record.folder().join(FILE)).await;
    let sqlite = opened.map_err(|error| error.to_string())?;
    // Without any constraint: what happens twice stands there twice.
    let sql =
        "CREATE TABLE IF NOT EXISTS effect (id INTEGER PRIMARY KEY, endpoint TEXT, number INTEGER)";
    let created = sqlite.write(move |db| Ok(db.execute(sql, []).map(|_| ())?)).await;
    created.map(|()| sqlite).map_err(|failure| failure.to_string())
}

async fn book(placed: Placed, tx: Tx<Sqlite>) -> Result<(), Failure> {
    tx.write(move |db| {
        db.execute(INSERT, (BOOKED, placed.number.cast_signed()))?;
        db.publish(&Noted { number: placed.number })
    })
}

async fn note(noted: Noted, tx: Tx<Sqlite>) -> Result<(), Failure> {
    tx.write(move |db| {
        db.execute(INSERT, (NOTED, noted.number.cast_signed()))?;
        Ok(())
    })
}

const INSERT: &str = "INSERT INTO effect (endpoint, number) VALUES (?1, ?2)";
