//! The database of a bench: one of its own on the server that tests have in common, gone with the bench.

use super::server::Server;
use crate::load::runtime;
use crate::round::Run;
use crate::stopwatch::Stopwatch;
use crate::{Result, table};
use std::rc::Rc;
use std::time::Duration;
use tokio_postgres::{Client, Config, NoTls};
use tramline::core::transport::Transport;
use tramline::{Bus, BusBuilder, Endpoint, Postgres};

use crate::message::{OrderPaid, OrderPlaced};

/// Gets the orders.
pub(super) const QUEUE: &str = "orders";
/// Gets the events that the orders' handler publishes.
pub(super) const NEXT_QUEUE: &str = "receipts";
/// The handler's own table.
pub(super) const LEDGER: &str = "CREATE TABLE ledger (
    id bigserial PRIMARY KEY,
    order_id bigint NOT NULL,
    cents bigint NOT NULL
)";
/// What a handler writes.
pub(super) const INSERT: &str = "INSERT INTO ledger (order_id, cents) VALUES ($1, $2)";

/// What the databases of benches are called, with the id of the process behind it.
const PREFIX: &str = "tramline_bench_";
pub(super) const DRAIN: Duration = Duration::from_secs(60);

/// A database that nobody else uses. Dropped, it is removed.
pub(super) struct Database {
    pub(super) url: String,
    server: String,
    name: String,
    /// Where its processes run, if that is here.
    counted: Option<Server>,
}

impl Database {
    /// Where it is: on the server of `cargo xtask services`, unless the environment names another. What
    /// benches have left behind that were ended by force is removed.
    pub(super) fn new() -> Result<Rc<Self>> {
        let server = tramline_services::postgres::shared_url()?;
        Ok(Rc::new(Self::on(server)?))
    }

    /// The same on the server at `server`.
    pub(super) fn on(server: String) -> Result<Self> {
        let name = format!("{PREFIX}{}", std::process::id());
        let (before, _) = server.rsplit_once('/').ok_or("the server's URL names no database")?;
        let url = format!("{before}/{name}");
        let counted = runtime()?.block_on(async {
            let client = connect(&server).await?;
            let left =
                "SELECT datname FROM pg_database d WHERE datname LIKE $1 || '%' AND NOT EXISTS (
                SELECT FROM pg_stat_activity a WHERE a.datname = d.datname)";
            for row in client.query(left, &[&PREFIX]).await? {
                let left: &str = row.get(0);
                // Another bench may begin or end at this moment.
                let _ = client.batch_execute(&format!("DROP DATABASE IF EXISTS {left}")).await;
            }
            client.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0")).await?;
            let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
            crate::Result::Ok(Server::of_backend(pid))
        })?;
        Ok(Self { url, server, name, counted })
    }

    /// Empty, with the tables of the bus, its queues and subscriptions, and the handler's table.
    pub(super) async fn prepare(&self) -> Result<()> {
        let client = self.connect().await?;
        client
            .batch_execute(&format!(
                "DROP SCHEMA IF EXISTS tramline, twin, apalis CASCADE;
                 DROP TABLE IF EXISTS ledger, _sqlx_migrations; DROP EXTENSION IF EXISTS hstore;
                 CREATE SCHEMA twin; {LEDGER}"
            ))
            .await?;
        let orders = Endpoint::new(QUEUE).subscribe::<OrderPlaced>();
        let orders = orders.handle(async |_: OrderPlaced| {});
        let receipts = Endpoint::new(NEXT_QUEUE).subscribe::<OrderPaid>();
        let receipts = receipts.handle(async |_: OrderPaid| {});
        let bus = self.builder().await?.endpoint(orders).endpoint(receipts).start().await?;
        let _ = bus.drain(DRAIN).await?;
        self.settle(&client).await
    }

    /// What was written until now is on the disk, so that nobody pays for it who comes later.
    pub(super) async fn settle(&self, client: &Client) -> Result<()> {
        Ok(client.batch_execute("CHECKPOINT").await?)
    }

    /// A connection of the client library, without anything of ours.
    pub(super) async fn connect(&self) -> Result<Client> {
        connect(&self.url).await
    }

    /// A bus to be built on a handle of its own.
    pub(super) async fn builder(&self) -> Result<BusBuilder<impl Transport>> {
        Ok(Bus::builder(Postgres::connect(&self.url).await?))
    }

    /// Begins to count.
    pub(super) fn meter(&self) -> Meter<'_> {
        Meter { watch: Stopwatch::start(), server: self.counted.as_ref(), used: self.used() }
    }

    fn used(&self) -> Duration {
        self.counted.as_ref().map(Server::used).unwrap_or_default()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let gone = runtime().and_then(|runtime| {
            runtime.block_on(async {
                let client = connect(&self.server).await?;
                let gone = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
                Ok(client.batch_execute(&gone).await?)
            })
        });
        if let Err(error) = gone {
            table::complain(&*error);
        }
    }
}

/// A connection to the database at `url`.
pub(super) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = url.parse::<Config>()?.connect(NoTls).await?;
    // Ends with the client; who waits for an answer is told of its error.
    tokio::spawn(connection);
    Ok(client)
}

/// A stopwatch that counts the server's processes too.
pub(super) struct Meter<'d> {
    pub(super) watch: Stopwatch,
    server: Option<&'d Server>,
    used: Duration,
}

impl Meter<'_> {
    /// Messages a second, and the server's processor time.
    pub(super) fn rate(&self, messages: u64) -> Run {
        let server = self.server_micros(messages);
        let mut run = self.watch.rate(messages);
        run.values.push(server);
        run
    }

    /// Figures that the case itself has taken, and the server's processor time.
    pub(super) fn run(&self, messages: u64, mut values: Vec<f64>) -> Run {
        values.push(self.server_micros(messages));
        self.watch.run(messages, values)
    }

    /// Microseconds a message; no number where the server does not run on this machine.
    fn server_micros(&self, messages: u64) -> f64 {
        let used = self.server.map(|server| server.used().saturating_sub(self.used));
        used.map_or(f64::NAN, |used| used.as_secs_f64() * 1e6 / messages as f64)
    }
}
