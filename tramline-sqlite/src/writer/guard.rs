//! What a user's SQL may not do on a connection of the bus, and for how long it may run.

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Watches over one connection. Off until [`Guard::restrict`].
pub(crate) struct Guard {
    restricted: Arc<AtomicBool>,
    /// The statement that is being prepared drops or alters a table.
    changes_tables: Arc<AtomicBool>,
    /// Microseconds after `since`; 0: no limit.
    stop_at: Arc<AtomicU64>,
    since: Instant,
}

impl Guard {
    /// Installs a guard. Once and for all: setting an authorizer makes SQLite prepare every cached
    /// statement again.
    pub(crate) fn install(connection: &Connection) -> rusqlite::Result<Self> {
        /// Steps of SQLite's machine between two looks at the clock: about every 100 µs.
        const STEPS: i32 = 4096;
        let since = Instant::now();
        let restricted = Arc::new(AtomicBool::new(false));
        let stop_at = Arc::new(AtomicU64::new(0));
        let asked = restricted.clone();
        let changes_tables = Arc::new(AtomicBool::new(false));
        let changes = changes_tables.clone();
        connection.authorizer(Some(move |context: AuthContext<'_>| {
            if asked.load(Ordering::Relaxed) && is_forbidden(&context.action, &changes) {
                Authorization::Deny
            } else {
                Authorization::Allow
            }
        }))?;
        let limit = stop_at.clone();
        connection.progress_handler(
            STEPS,
            Some(move || {
                let stop_at = limit.load(Ordering::Relaxed);
                stop_at != 0 && micros(since.elapsed()) >= stop_at
            }),
        )?;
        Ok(Self { restricted, changes_tables, stop_at, since })
    }

    /// Runs a user's code: forbidden statements are refused, and SQL is stopped after `limit`.
    pub(crate) fn restrict<T>(&self, limit: Duration, f: impl FnOnce() -> T) -> T {
        self.stop_at.store(micros(self.since.elapsed() + limit).max(1), Ordering::Relaxed);
        self.restricted.store(true, Ordering::Relaxed);
        let _lifted = Lift(self);
        f()
    }

    /// Another statement of a user's is about to be prepared.
    pub(crate) fn next_statement(&self) {
        self.changes_tables.store(false, Ordering::Relaxed);
    }

    /// Runs the bus's own statements in the middle of a user's code.
    pub(crate) fn trusted<T>(&self, f: impl FnOnce() -> T) -> T {
        let _again =
            Again { guard: self, restricted: self.restricted.swap(false, Ordering::Relaxed) };
        f()
    }
}

/// Restricts again what was trusted for a moment, after a panic too.
struct Again<'a> {
    guard: &'a Guard,
    restricted: bool,
}

impl Drop for Again<'_> {
    fn drop(&mut self) {
        self.guard.restricted.store(self.restricted, Ordering::Relaxed);
    }
}

/// Ends a restriction, in a panic too.
struct Lift<'a>(&'a Guard);

impl Drop for Lift<'_> {
    fn drop(&mut self) {
        self.0.restricted.store(false, Ordering::Relaxed);
        self.0.stop_at.store(0, Ordering::Relaxed);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Transactions belong to the group, files and settings to the writer, and the tables of the bus
/// to the bus: a user may read them. Nor may a temporary table have the name of one: the bus's own
/// statements would find it first.
fn is_forbidden(action: &AuthAction<'_>, changes_tables: &AtomicBool) -> bool {
    match action {
        AuthAction::Transaction { .. }
        | AuthAction::Savepoint { .. }
        | AuthAction::Attach { .. }
        | AuthAction::Detach { .. }
        | AuthAction::Unknown { .. } => true,
        // Full-text search asks for it behind each write.
        AuthAction::Pragma { pragma_name, .. } => *pragma_name != "data_version",
        // The new name is not told here.
        AuthAction::AlterTable { database_name: "temp", .. } => true,
        AuthAction::DropTable { table_name } | AuthAction::AlterTable { table_name, .. } => {
            changes_tables.store(true, Ordering::Relaxed);
            is_the_buss(table_name)
        }
        AuthAction::Insert { table_name }
        | AuthAction::Delete { table_name }
        | AuthAction::Update { table_name, .. } => {
            // To drop or rename a table, SQLite itself changes its counter.
            let is_counters = table_name.eq_ignore_ascii_case("sqlite_sequence");
            is_the_buss(table_name) || is_counters && !changes_tables.load(Ordering::Relaxed)
        }
        AuthAction::CreateTable { table_name }
        | AuthAction::CreateTempTable { table_name }
        | AuthAction::CreateVtable { table_name, .. }
        | AuthAction::CreateView { view_name: table_name }
        | AuthAction::CreateTempView { view_name: table_name }
        | AuthAction::CreateIndex { table_name, .. }
        | AuthAction::CreateTempIndex { table_name, .. }
        | AuthAction::CreateTrigger { table_name, .. }
        | AuthAction::CreateTempTrigger { table_name, .. }
        | AuthAction::DropVtable { table_name, .. }
        | AuthAction::DropIndex { table_name, .. } => is_the_buss(table_name),
        _ => false,
    }
}

/// SQLite takes `TRAMLINE_body` for the same table.
fn is_the_buss(name: &str) -> bool {
    const PREFIX: &str = "tramline_";
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}
