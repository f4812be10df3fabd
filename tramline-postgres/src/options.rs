//! How a database is opened.

use crate::capabilities::capabilities;
use crate::link::Target;
use crate::open::Core;
use crate::postgres::Postgres;
use sqlx::postgres::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::Result;
use tramline_core::capabilities::Capabilities;
use tramline_core::clock::{Clock, Entropy, SystemClock, SystemEntropy};

/// How to open a database. Made by [`Postgres::options`].
#[must_use = "options open nothing by themselves: call `open`"]
pub struct PostgresOptions {
    pub(crate) url: String,
    pub(crate) settings: Settings,
}

/// What a handle works with.
#[derive(Clone)]
pub(crate) struct Settings {
    /// What waits are measured with.
    pub(crate) clock: Arc<dyn Clock>,
    /// The tables go by the server's clock, unless the caller has set one.
    pub(crate) is_wound: bool,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) lease: Duration,
    pub(crate) migrates: bool,
    pub(crate) handlers_max: u32,
    pub(crate) pool: Option<PgPool>,
}

impl PostgresOptions {
    pub(crate) fn new(url: String) -> Self {
        const LEASE: Duration = Duration::from_secs(30);
        const HANDLERS_MAX: u32 = 32;
        let settings = Settings {
            clock: Arc::new(SystemClock),
            is_wound: false,
            entropy: Arc::new(SystemEntropy),
            lease: LEASE,
            migrates: true,
            handlers_max: HANDLERS_MAX,
            pool: None,
        };
        Self { url, settings }
    }

    /// Where the time comes from. Unless said otherwise what is due and whose lease is over goes by the
    /// server's clock, so that clocks of client machines need not agree. For tests.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.settings.clock = clock;
        self.settings.is_wound = true;
        self
    }

    /// Where chance comes from; the machine's generator unless said otherwise.
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.settings.entropy = entropy;
        self
    }

    /// How long a process that does not answer any more keeps what it took; 30 s unless said otherwise.
    /// Renewed every sixth of this time.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// Does not make or change tables: an administrator has run [`migrations`](crate::migrations), and
    /// a database in which he has not is refused.
    pub fn without_migrations(mut self) -> Self {
        self.settings.migrates = false;
        self
    }

    /// How many transactions of handlers may be open at once, each on a connection of its own; 32
    /// unless said otherwise. Those beyond that wait.
    pub fn handlers_max(mut self, connections: u32) -> Self {
        self.settings.handlers_max = connections.max(1);
        self
    }

    /// What queues can do, before any database is opened.
    pub fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    /// A pool of the program's own, on the same database, for the transactions of handlers. What it
    /// allows is what counts, in place of [`handlers_max`](Self::handlers_max).
    pub fn pool(mut self, pool: PgPool) -> Self {
        self.settings.pool = Some(pool);
        self
    }

    /// Opens the database and makes or migrates the tables of the bus, in a schema of their own.
    ///
    /// Dropped, it may have migrated the database; nothing else is left.
    ///
    /// # Errors
    /// Each names the server: it cannot be reached or refuses us, rights are missing, a newer version of
    /// this crate has written the tables, or the given pool is on another database.
    pub async fn open(self) -> Result<Postgres> {
        let target = Target::parse(&self.url)?;
        let core = Core::open(target, self.settings).await?;
        core.check_pool().await?;
        Ok(Postgres::of(core))
    }
}
