//! What a handler in a transaction works with.

use super::db::Db;
use super::snapshot::Snapshot;
use super::unit::Closure;
use crate::sqlite::Sqlite;
use parking_lot::Mutex;
use std::fmt;
use tramline_core::Failure;
use tramline_core::compose::Scope;

/// A handler's unit of work: writes are queued and run at commit, together with the ack.
///
/// A handler sees no result of its writes; what depends on the database is decided inside the
/// closure. Dropped uncommitted, nothing that was queued happens.
pub struct SqliteTx {
    sqlite: Sqlite,
    scope: Scope,
    closures: Mutex<Vec<Closure>>,
}

impl SqliteTx {
    pub(super) fn new(sqlite: Sqlite, scope: Scope) -> Self {
        Self { sqlite, scope, closures: Mutex::default() }
    }

    /// Queues `f` for the writer thread, behind what was queued before.
    ///
    /// It runs after the handler has succeeded, in one transaction with the ack and with what it
    /// publishes. An error or a panic in it fails the handler's message alone. It may run more
    /// than once, but what is kept is of one run.
    ///
    /// # Errors
    /// None today; the answer lets a handler end with this call.
    pub fn write(
        &self,
        f: impl Fn(&Db<'_>) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), Failure> {
        self.closures.lock().push(Box::new(f));
        Ok(())
    }

    /// Reads the file as it is now, without what this unit of work has queued. At most 5 s.
    ///
    /// Dropped, `f` may still run to its end, for nobody.
    ///
    /// # Errors
    /// What `f` answers; retryable when it panicked, took too long or the file could not be read.
    pub async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Snapshot<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.sqlite.read(f).await
    }

    pub(super) fn into_parts(self) -> (Scope, Vec<Closure>) {
        (self.scope, self.closures.into_inner())
    }
}

impl fmt::Debug for SqliteTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteTx").field("queued", &self.closures.lock().len()).finish()
    }
}
