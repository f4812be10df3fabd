//! What all handles on one opened database have in common.

use super::pooler::pools_transactions;
use super::session::Session;
use crate::deliver::{Job, Settling};
use crate::error::failed;
use crate::link::{Backoff, Connected, Down, Line, Target};
use crate::options::Settings;
use crate::processes::{Announced, Leases, Sleepers, Waker, keep, listen};
use crate::queue::{Routes, Temporary};
use crate::schema;
use crate::send::Sending;
use crate::store::{Grouping, Pool, Rest, Unknown, Watch};
use parking_lot::RwLock;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use tramline_core::clock::Timestamp;
use tramline_core::name::QueueName;
use tramline_core::rows::{Hub, Unrouted};
use tramline_core::store::DatabaseId;
use tramline_core::{Error, ErrorKind, Result};

/// The outbox rings as the queue that cannot be.
pub(crate) const OUTBOX: i32 = tramline_core::rows::OUTBOX as i32;
/// And the schedules as another one.
pub(crate) const SCHEDULES: i32 = tramline_core::rows::SCHEDULES as i32;

/// An opened database.
pub(crate) struct Core {
    pub(crate) target: Arc<Target>,
    pub(crate) settings: Settings,
    pub(crate) database: DatabaseId,
    /// What this process is called in the tables: never used before, never again.
    pub(crate) process: i64,
    /// What operators read in its place.
    pub(crate) label: String,
    pub(crate) hub: Hub,
    /// Queues and subscriptions as they were at one version.
    routes: RwLock<Arc<Routes>>,
    /// The temporary queues that it has declared.
    pub(crate) temporary: Temporary,
    /// What this process has taken.
    pub(crate) leases: Leases,
    /// The queues at which somebody here waits to be woken.
    pub(crate) sleepers: Sleepers,
    /// What shows others that this process lives.
    pub(crate) announced: Arc<Announced>,
    /// What everything fails with once a newer program has changed the tables.
    pub(super) outdated: OnceLock<Error>,
    /// Wakes those who wait elsewhere.
    pub(crate) waker: Waker,
    /// Sends, from one task and connection for all callers.
    pub(crate) sending: Sending,
    /// Settles, in the same way.
    pub(crate) settling: Settling,
    /// Ends units of work, in the same way.
    pub(crate) grouping: Grouping,
    /// Each transaction may be in another session of the server.
    pub(crate) is_pooled: bool,
    /// Takes.
    pub(crate) taking: Arc<Line>,
    /// The tasks that every receiver relies on were begun.
    attends: AtomicBool,
    heard: AtomicBool,
    /// For everything that is neither frequent nor long. Many use it at once, so no transaction is begun
    /// on it: what needs one opens a line of its own.
    pub(crate) operating: Arc<Line>,
    /// For what operators ask, which may take long.
    pub(crate) looking: Arc<Line>,
    /// For the relay, whose claims may be large.
    pub(crate) relaying: Arc<Line>,
    /// For schedules. Who changes one may have to wait for another who does.
    pub(crate) scheduling: Arc<Line>,
    /// For the transactions of handlers.
    pub(crate) pool: Pool,
    /// Transactions of the program's own that have written messages.
    pub(crate) watch: Watch,
    /// How the relay waits.
    pub(crate) rest: Rest,
    /// What the relay may have.
    pub(crate) unknown: Unknown,
    /// By how many microseconds the server's clock is ahead of ours, if they do not agree.
    ahead: AtomicI64,
    /// Events that nobody gets.
    unrouted: Unrouted,
}

impl Core {
    /// # Errors
    /// As [`PostgresOptions::open`](crate::PostgresOptions::open).
    pub(crate) async fn open(target: Target, settings: Settings) -> Result<Arc<Self>> {
        let target = Arc::new(target);
        let line = |purpose| Arc::new(Line::new(target.clone(), purpose, &settings));
        let operating = line("operate");
        let connected = operating.try_connected().await?;
        let is_pooled = pools_transactions(&connected, &target, &settings).await?;
        match settings.migrates {
            true => schema::migrate(&connected, &target.to_string()).await?,
            false => schema::check(&connected, &target.to_string()).await?,
        }
        let database = identity(&connected, &target).await?;
        let routes = Routes::load(&connected).await?;
        const CLOCK: &str = "SELECT tramline.clock()";
        let clock = connected.query_one(CLOCK, &[]).await;
        let clock = clock.map_err(|error| failed(format!("ask {target} for its time"), &error))?;
        let process = (settings.entropy.bits() as i64) & i64::MAX;
        let core = Self {
            label: label(),
            database,
            process,
            hub: Hub::default(),
            routes: RwLock::new(Arc::new(routes)),
            temporary: Temporary::default(),
            leases: Leases::default(),
            sleepers: Sleepers::default(),
            announced: Arc::default(),
            outdated: OnceLock::new(),
            waker: Waker::default(),
            sending: Sending::new(line("send")),
            settling: Settling::new(line("settle")),
            grouping: Grouping::new(line("commit")),
            is_pooled,
            taking: line("take"),
            attends: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            looking: line("look"),
            relaying: line("relay"),
            scheduling: line("schedule"),
            pool: Pool::own(settings.pool.clone()),
            watch: Watch::default(),
            rest: Rest::default(),
            unknown: Unknown::default(),
            ahead: AtomicI64::new(0),
            unrouted: Unrouted::default(),
            operating,
            target,
            settings,
        };
        core.hears_clock(clock.get(0));
        Ok(Arc::new(core))
    }

    /// The time for the tables: nothing where they go by the server's own.
    pub(crate) fn now(&self) -> Option<i64> {
        self.settings.is_wound.then(|| self.settings.clock.now().as_micros())
    }

    /// Queues and subscriptions, as they are remembered.
    pub(crate) fn routes(&self) -> Arc<Routes> {
        self.routes.read().clone()
    }

    /// Reads queues and subscriptions anew, by `connected`. What is read counts even if newer ones were
    /// known: a server that another has taken over from may have lost a declaration.
    pub(crate) async fn reload(&self, connected: &Connected) -> Result<Arc<Routes>> {
        self.check_version(connected).await?;
        let routes = Arc::new(Routes::load(connected).await?);
        *self.routes.write() = routes.clone();
        Ok(routes)
    }

    /// Remembers these routes, unless newer ones are known. Answers what was given.
    pub(crate) fn remember(&self, routes: Routes) -> Arc<Routes> {
        let routes = Arc::new(routes);
        let mut remembered = self.routes.write();
        if remembered.version <= routes.version {
            *remembered = routes.clone();
        }
        routes
    }

    /// How long this process may be silent before others have what it took.
    pub(crate) fn lease_micros(&self) -> i64 {
        i64::try_from(self.settings.lease.as_micros()).unwrap_or(i64::MAX / 2)
    }

    /// Something was committed into these queues, [`OUTBOX`] and [`SCHEDULES`] being two: whoever reads them, here or
    /// elsewhere, has something to look at.
    pub(crate) fn woken_by_commit(self: &Arc<Self>, queues: impl IntoIterator<Item = i32>) {
        let queues: Vec<i32> = queues.into_iter().collect();
        if !queues.is_empty() {
            queues.iter().for_each(|queue| self.hub.wake((*queue).into()));
            self.waker.wake(self, queues);
        }
    }

    /// These events were published in a transaction, and no queue of this database gets them.
    pub(crate) fn warn_unrouted(&self, events: BTreeSet<String>) {
        for to in self.unrouted.newly(events) {
            tracing::warn!(to, "published in a transaction, and no queue has subscribed to it");
        }
    }

    /// The server is in trouble, and what is done will be tried again: waits a little, longer each time.
    pub(crate) async fn trouble(&self, error: &Error, backoff: &mut Backoff) {
        tracing::warn!(%error, "to be tried again");
        tokio::time::sleep(backoff.failed(self.settings.entropy.fraction())).await;
    }

    /// The error of whoever uses what was closed.
    pub(crate) fn closed(&self) -> Error {
        Error::closed(&self.target.to_string())
    }

    /// From now on this process is kept alive in the tables and hears of others. Once.
    pub(crate) fn attend(self: &Arc<Self>) {
        if !self.attends.swap(true, Ordering::AcqRel) {
            tokio::spawn(keep(Arc::downgrade(self)));
            tokio::spawn(listen(Arc::downgrade(self)));
        }
    }

    /// Whether this process is told when others commit something.
    pub(crate) fn is_heard(&self) -> bool {
        self.heard.load(Ordering::Acquire)
    }

    pub(crate) fn set_heard(&self, is_heard: bool) {
        self.heard.store(is_heard, Ordering::Release);
    }

    /// Since when and why a connection is lost, if any is.
    pub(crate) fn down(&self) -> Option<Down> {
        let tasks = [self.sending.line(), self.settling.line(), self.grouping.line()];
        let lines = tasks.into_iter().chain([&*self.taking, &self.operating]);
        lines.into_iter().find_map(Line::down)
    }

    /// Gives back what `session` holds, behind everything that was settled before.
    pub(crate) async fn give_back_all(self: &Arc<Self>, session: &Arc<Session>) {
        for token in self.leases.of(session) {
            self.settling.submit(self, Job::GiveBack(token));
        }
        self.settling.flushed(self).await;
    }

    /// Removes temporary queues of this process.
    pub(crate) async fn remove_temporary(&self, queues: &[QueueName]) -> Result<()> {
        const REMOVE: &str = "SELECT tramline.remove_temporary($1, $2)";
        if queues.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = queues.iter().map(QueueName::as_str).collect();
        let connected = self.operating.connected().await?;
        let removed = connected.query_one(REMOVE, &[&self.process, &names]).await;
        removed.map(drop).map_err(|error| failed("remove temporary queues", &error))
    }

    /// The server's clock shows so much, in microseconds since 1970, at this moment.
    pub(crate) fn hears_clock(&self, server: i64) {
        /// Clocks that differ by less count as equal.
        const AGREE_MICROS: i64 = 1_000_000;
        if self.settings.is_wound {
            return;
        }
        let ahead = server - self.here().as_micros();
        if (ahead - self.ahead.load(Ordering::Relaxed)).abs() > AGREE_MICROS {
            self.ahead.store(ahead, Ordering::Relaxed);
        }
    }

    /// What the server's clock shows at this moment of ours.
    pub(crate) fn there(&self, here: Timestamp) -> Timestamp {
        Timestamp::from_micros(here.as_micros() + self.ahead.load(Ordering::Relaxed))
    }

    /// What our clock shows at this moment of the server's.
    pub(crate) fn here_of(&self, there: Timestamp) -> Timestamp {
        Timestamp::from_micros(there.as_micros() - self.ahead.load(Ordering::Relaxed))
    }

    /// This machine's time. For waits only: the tables go by [`now`](Self::now).
    pub(crate) fn here(&self) -> Timestamp {
        self.settings.clock.now()
    }
}

/// Two handles share a database if they are on the same one of the same cluster of servers, and it was
/// not made anew in between.
async fn identity(connected: &Connected, target: &Target) -> Result<DatabaseId> {
    const SQL: &str = "SELECT (SELECT system_identifier FROM pg_control_system())::text || '/'
            || (SELECT oid FROM pg_database WHERE datname = current_database())::text || '/'
            || (SELECT database FROM tramline.schema)::text";
    let doing = || format!("tell which database {target} is");
    let row = connected.query_one(SQL, &[]).await.map_err(|error| match error.code() {
        Some(state) if state.code() == "42P01" => Error::new(ErrorKind::Misconfigured, doing())
            .because(
                "it has no tables of the bus; run the SQL of `tramline::postgres::migrations()`",
            ),
        _ => failed(doing(), &error),
    })?;
    Ok(DatabaseId::new(format!("postgres:{}", row.get::<_, &str>(0))))
}

fn label() -> String {
    let program = std::env::current_exe().ok();
    let program = program.as_deref().and_then(|path| path.file_name());
    let program = program.map_or_else(|| "tramline".into(), |name| name.to_string_lossy());
    format!("{program} (pid {})", std::process::id())
}
