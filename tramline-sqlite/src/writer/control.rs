//! Transactions and savepoints of the writer.

use rusqlite::Connection;
use tramline_core::clock::Entropy;

use crate::options::Sync;
use std::cell::Cell;

/// The statements that begin and end transactions.
///
/// Their texts carry a random mark: a closure's `COMMIT` would otherwise find the writer's own
/// prepared statement in the cache and run it, past the authorizer.
pub(super) struct Control {
    begin: String,
    commit: String,
    rollback: String,
    savepoint: String,
    undo: String,
    release: String,
    sync: Sync,
    /// What `PRAGMA synchronous` was set to last: it can only be changed between transactions.
    synced: Cell<Option<bool>>,
}

impl Control {
    pub(super) fn new(sync: Sync, entropy: &dyn Entropy) -> Self {
        let mark = entropy.bits();
        let marked = |sql: &str| format!("{sql} /* {mark:032x} */");
        Self {
            begin: marked("BEGIN IMMEDIATE"),
            commit: marked("COMMIT"),
            rollback: marked("ROLLBACK"),
            savepoint: marked("SAVEPOINT tramline"),
            undo: marked("ROLLBACK TO tramline"),
            release: marked("RELEASE tramline"),
            sync,
            synced: Cell::new(None),
        }
    }

    /// Begins a transaction whose commit reaches the disk at once if it is `durable`.
    pub(super) fn begin(&self, connection: &Connection, durable: bool) -> rusqlite::Result<()> {
        let synced = durable && self.sync == Sync::Full;
        if self.synced.get() != Some(synced) {
            let pragma =
                if synced { "PRAGMA synchronous=FULL" } else { "PRAGMA synchronous=NORMAL" };
            connection.execute_batch(pragma)?;
            self.synced.set(Some(synced));
        }
        run(connection, &self.begin)
    }

    pub(super) fn commit(&self, connection: &Connection) -> rusqlite::Result<()> {
        run(connection, &self.commit)
    }

    /// Ends a transaction without a trace, if SQLite has not done so already.
    pub(super) fn rollback(&self, connection: &Connection) -> rusqlite::Result<()> {
        if connection.is_autocommit() { Ok(()) } else { run(connection, &self.rollback) }
    }

    pub(super) fn savepoint(&self, connection: &Connection) -> rusqlite::Result<()> {
        run(connection, &self.savepoint)
    }

    pub(super) fn undo(&self, connection: &Connection) -> rusqlite::Result<()> {
        run(connection, &self.undo)?;
        run(connection, &self.release)
    }

    pub(super) fn release(&self, connection: &Connection) -> rusqlite::Result<()> {
        run(connection, &self.release)
    }
}

fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(|_| ())
}
