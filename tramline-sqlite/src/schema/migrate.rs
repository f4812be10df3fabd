//! From whatever version a file has to the one that this crate writes.

use crate::error::failed_on;
use rusqlite::{Connection, OptionalExtension};
use std::path::Path;
use tramline_core::{Error, ErrorKind, Result};

/// Every step, in order: the first makes version 1 of an empty file. Released steps are never
/// changed, only followed by others.
const STEPS: &[&str] = &[include_str!("v1.sql")];

/// Reads only: refuses a file that this crate must not touch, before anything in it is changed.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<()> {
    version(connection, path).map(|_| ())
}

/// Brings the file to the newest version in one transaction. Two processes that start together
/// take turns: the second finds the work done.
pub(crate) fn migrate(connection: &Connection, path: &Path) -> Result<()> {
    if version(connection, path)? == STEPS.len() {
        return Ok(());
    }
    let doing = "make the tables of the bus in";
    let on_file = |error| failed_on(doing, path, error);
    connection.execute_batch("BEGIN IMMEDIATE").map_err(on_file)?;
    let steps = version(connection, path).and_then(|version| {
        for step in &STEPS[version..] {
            connection.execute_batch(step).map_err(on_file)?;
        }
        write_version(connection).map_err(on_file)
    });
    match steps.and_then(|()| connection.execute_batch("COMMIT").map_err(on_file)) {
        Ok(()) => Ok(()),
        Err(error) => {
            // The first error is the one to tell; a failed roll back ends with the connection.
            let _ = connection.execute_batch("ROLLBACK");
            Err(error)
        }
    }
}

/// The version of the tables in the file; 0 when there are none.
fn version(connection: &Connection, path: &Path) -> Result<usize> {
    let on_file = |error| failed_on("read the version of the tables in", path, error);
    let has_tables = connection
        .query_row("SELECT 1 FROM sqlite_master WHERE name = 'tramline_schema'", [], |_| Ok(()))
        .optional()
        .map_err(on_file)?;
    if has_tables.is_none() {
        return Ok(0);
    }
    let version: u32 = connection
        .query_row("SELECT version FROM tramline_schema", [], |row| row.get(0))
        .map_err(on_file)?;
    let version = version as usize;
    if version > STEPS.len() {
        let doing = format!("open {}", path.display());
        return Err(Error::new(ErrorKind::Conflict, doing).because(format!(
            "its tables have version {version} and this program knows versions up to {}; \
             it was written by a newer program",
            STEPS.len()
        )));
    }
    Ok(version)
}

fn write_version(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS tramline_schema (version INTEGER NOT NULL);
         DELETE FROM tramline_schema;",
    )?;
    connection
        .execute("INSERT INTO tramline_schema (version) VALUES (?1)", [STEPS.len() as i64])
        .map(|_| ())
}
