//! The connections to a file: one that writes, some that read, one that checkpoints.

use super::busy;
use crate::error::failed_on;
use crate::schema;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use tramline_core::{Error, ErrorKind, Result};

/// Statements of the bus and of its users that stay prepared on the writer.
const STATEMENTS_KEPT: usize = 512;

/// The pages that the writer keeps in memory.
const CACHE_KIB: i64 = 16 * 1024;

/// The connection that writes. Makes the file and its tables where they are missing.
///
/// While processes start together on a new file, SQLite refuses some steps, the change to a
/// write-ahead log among them, without asking the busy handler: they are tried again.
pub(crate) fn writer(path: &Path) -> Result<Connection> {
    const PAUSE: Duration = Duration::from_millis(2);
    let begun = Instant::now();
    loop {
        match try_writer(path) {
            Err(error) if error.is_transient() && begun.elapsed() < busy::PATIENCE => {
                thread::sleep(PAUSE);
            }
            opened => return opened,
        }
    }
}

fn try_writer(path: &Path) -> Result<Connection> {
    if path.is_dir() {
        let doing = format!("open {}", path.display());
        return Err(Error::new(ErrorKind::Misconfigured, doing).because("it is a directory"));
    }
    let on_file = |error| failed_on("open", path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(on_file)?;
    connection.busy_handler(Some(busy::wait_a_moment)).map_err(on_file)?;
    schema::check(&connection, path)?;
    // SQLite opens a file that it may not write to without a word.
    if connection.is_readonly("main").map_err(on_file)? {
        let doing = format!("open {} to write to it", path.display());
        return Err(Error::new(ErrorKind::Misconfigured, doing).because("it is read-only"));
    }
    prepare_file(&connection).map_err(on_file)?;
    schema::migrate(&connection, path)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    Ok(connection)
}

/// A connection that reads snapshots and cannot write.
pub(crate) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(busy::wait_a_moment))?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// The connection that brings the write-ahead log back into the file.
pub(crate) fn checkpointer(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(busy::wait_a_moment))?;
    // A checkpoint must reach the disk before the log is used again, whatever commits do.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(connection)
}

/// What the file keeps, and how this connection works on it.
fn prepare_file(connection: &Connection) -> rusqlite::Result<()> {
    // Both have an effect on a new file only, before its first table.
    connection.pragma_update(None, "page_size", 4096)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // A group's pages stay in memory until its commit.
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // Checkpoints run beside the commits, and the log keeps its size: overwriting a file is
    // several times faster than letting it grow.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", -1, |_| Ok(()))?;
    Ok(())
}
