//! Writing and reading outside of handlers.

use super::db::Db;
use super::failure::{over_time, panicked};
use super::snapshot::Snapshot;
use super::unit::{Unit, lost};
use crate::sqlite::Sqlite;
use crate::writer::caught;
use parking_lot::Mutex;
use rusqlite::ErrorCode;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tramline_core::Failure;
use tramline_core::compose::Scope;
use tramline_core::store::CommitError;

/// How long one read may take.
const READ_LIMIT: Duration = Duration::from_secs(5);

/// Writes and reads outside of handlers, with publishing: `bus.store(&store)` answers one.
#[derive(Clone)]
pub struct SqliteWriter {
    sqlite: Sqlite,
    scope: Scope,
}

impl SqliteWriter {
    pub(super) fn new(sqlite: Sqlite, scope: Scope) -> Self {
        Self { sqlite, scope }
    }

    #[cfg(feature = "sqlx")]
    pub(super) fn sqlite(&self) -> &Sqlite {
        &self.sqlite
    }

    #[cfg(feature = "sqlx")]
    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// As [`Sqlite::write`], and `f` may publish.
    ///
    /// # Errors
    /// As [`Sqlite::write`].
    pub async fn write<T: Send + 'static>(
        &self,
        f: impl Fn(&Db<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let written = self.sqlite.write_in(Some(self.scope.clone()), f).await;
        written.inspect_err(|failure| self.scope.tell(failure))
    }

    /// As [`Sqlite::read`].
    ///
    /// # Errors
    /// As [`Sqlite::read`].
    pub async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Snapshot<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.sqlite.read(f).await
    }
}

impl fmt::Debug for SqliteWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SqliteWriter").field(&self.sqlite).finish()
    }
}

impl Sqlite {
    /// Runs `f` on the writer thread, in a transaction that others may share, and answers once it
    /// is committed. An error or a panic in `f` undoes what `f` wrote and nothing else.
    ///
    /// `f` may run more than once, but what is kept is of one run. It cannot publish: for that,
    /// take `bus.store(&store)`.
    ///
    /// Dropped before its turn, nothing happens; dropped later, it may still commit.
    ///
    /// # Errors
    /// What `f` answers; retryable when it panicked, when its SQL took longer than the statement
    /// limit, or when the file could not be written. Then, rarely, it may have been committed: the
    /// text says so.
    pub async fn write<T: Send + 'static>(
        &self,
        f: impl Fn(&Db<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.write_in(None, f).await
    }

    /// Runs `f` on the file as it is now, on a connection that cannot write. At most 5 s: its SQL is
    /// stopped then, and a closure that does other things for longer fails when it ends. While it
    /// runs, the write-ahead log cannot begin anew and grows; before it runs, it waits for up to half
    /// a second if the log is about to.
    ///
    /// Dropped, `f` may still run to its end, for nobody.
    ///
    /// # Errors
    /// What `f` answers; retryable when it panicked, took too long or the file could not be read.
    pub async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Snapshot<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let read = self.core.readers.read(READ_LIMIT, move |connection| {
            let begun = Instant::now();
            let read = || f(&Snapshot::new(connection));
            let answer = caught(read).unwrap_or_else(|text| Err(panicked(&text)));
            // Code that sleeps cannot be stopped; an error that it answers says more than this.
            if answer.is_ok() && begun.elapsed() > READ_LIMIT {
                return Err(Failure::retryable(format!("read took longer than {READ_LIMIT:?}")));
            }
            answer
        });
        read.await?.map_err(|failure| {
            let error = failure.find::<rusqlite::Error>();
            match error.and_then(rusqlite::Error::sqlite_error_code) {
                Some(ErrorCode::OperationInterrupted) => over_time(READ_LIMIT, &failure),
                _ => failure,
            }
        })
    }

    async fn write_in<T: Send + 'static>(
        &self,
        scope: Option<Scope>,
        f: impl Fn(&Db<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let kept = Arc::new(Mutex::new(None));
        let answer = kept.clone();
        let closure = move |db: &Db<'_>| {
            let written = f(db)?;
            *answer.lock() = Some(written);
            Ok(())
        };
        let (unit, committed) = Unit::new(scope, vec![Box::new(closure)]);
        self.core.submit(Box::new(unit)).await.map_err(|error| failure(lost(error)))?;
        match committed.await {
            Ok(Ok(_)) => kept
                .lock()
                .take()
                .ok_or_else(|| Failure::retryable("the closure was committed without an answer")),
            Ok(Err(error)) => Err(failure(error)),
            Err(_) => Err(failure(lost(crate::writer::WriteError::stopped()))),
        }
    }
}

fn failure(error: CommitError) -> Failure {
    match error {
        CommitError::Handler(failure) => failure,
        CommitError::Store(error) => Failure::retryable(error),
        unknown @ CommitError::Unknown(_) => Failure::retryable(unknown),
    }
}
