//! What a user's SQL may not do on a connection of the bus, and for how long it may run.

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Watches over one connection. Off until [`Guard::restrict`].
pub(crate) struct Guard {
    restricted: Arc<AtomicBool>,
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
        connection.authorizer(Some(move |context: AuthContext<'_>| {
            if asked.load(Ordering::Relaxed) && is_forbidden(&context.action) {
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
        Ok(Self { restricted, stop_at, since })
    }

    /// Runs a user's code: forbidden statements are refused, and SQL is stopped after `limit`.
    pub(crate) fn restrict<T>(&self, limit: Duration, f: impl FnOnce() -> T) -> T {
        self.stop_at.store(micros(self.since.elapsed() + limit).max(1), Ordering::Relaxed);
        self.restricted.store(true, Ordering::Relaxed);
        let _lifted = Lift(self);
        f()
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
/// to the bus: a user may read them.
fn is_forbidden(action: &AuthAction<'_>) -> bool {
    match action {
        AuthAction::Transaction { .. }
        | AuthAction::Savepoint { .. }
        | AuthAction::Attach { .. }
        | AuthAction::Detach { .. } => true,
        // Full-text search asks for it behind each write.
        AuthAction::Pragma { pragma_name, .. } => *pragma_name != "data_version",
        AuthAction::Insert { table_name }
        | AuthAction::Delete { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::CreateTable { table_name }
        | AuthAction::DropTable { table_name }
        | AuthAction::AlterTable { table_name, .. }
        | AuthAction::CreateIndex { table_name, .. }
        | AuthAction::DropIndex { table_name, .. }
        | AuthAction::CreateTrigger { table_name, .. }
        | AuthAction::CreateTempTrigger { table_name, .. } => table_name.starts_with("tramline_"),
        _ => false,
    }
}
