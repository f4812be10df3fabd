//! From whatever version a file has to the one that this crate writes.

use crate::error::failed_on;
use rusqlite::{Connection, OptionalExtension};
use std::path::Path;
use tramline_core::{Error, ErrorKind, Result};

/// Every step, in order: the first makes version 1 of an empty file. Released steps are never
/// changed, only followed by others.
const STEPS: &[&str] = &[include_str!("v1.sql")];

/// The newest version that this program knows.
pub(crate) const NEWEST: u32 = STEPS.len() as u32;
/// Asks a file for its version.
pub(crate) const VERSION: &str = "SELECT version FROM tramline_schema";

/// Reads only: refuses a file that this crate must not touch, before anything in it is changed.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<()> {
    version(STEPS, connection, path).map(|_| ())
}

/// Brings the file to the newest version in one transaction. Two processes that start together
/// take turns: the second finds the work done. Older programs that have the file open write before
/// it or not at all: see [`unknown_version`].
pub(crate) fn migrate(connection: &Connection, path: &Path) -> Result<()> {
    migrate_by(STEPS, connection, path)
}

/// The version of the tables if this program does not know it: a newer one has migrated the file.
///
/// Every migration counts the topology up, so that nobody has to ask before that has changed.
pub(crate) fn unknown_version(connection: &Connection) -> rusqlite::Result<Option<u32>> {
    let version: u32 = connection.query_row(VERSION, [], |row| row.get(0))?;
    Ok((version > NEWEST).then_some(version))
}

/// What whoever wants to do `doing` to a file of that version is told.
pub(crate) fn too_new(doing: &str, path: &Path, version: u32) -> Error {
    let doing = format!("{doing} {}", path.display());
    Error::new(ErrorKind::Outdated, doing).because(format!(
        "its tables have version {version} and this program knows versions up to {NEWEST}; \
         a newer program has written them: start that one instead"
    ))
}

fn migrate_by(steps: &[&str], connection: &Connection, path: &Path) -> Result<()> {
    if version(steps, connection, path)? == steps.len() {
        return Ok(());
    }
    let doing = "make the tables of the bus in";
    let on_file = |error| failed_on(doing, path, error);
    connection.execute_batch("BEGIN IMMEDIATE").map_err(on_file)?;
    let done = version(steps, connection, path).and_then(|version| {
        for step in &steps[version..] {
            connection.execute_batch(step).map_err(on_file)?;
        }
        write_version(connection, steps.len()).map_err(on_file)
    });
    match done.and_then(|()| connection.execute_batch("COMMIT").map_err(on_file)) {
        Ok(()) => Ok(()),
        Err(error) => {
            // The first error is the one to tell; a failed roll back ends with the connection.
            let _ = connection.execute_batch("ROLLBACK");
            Err(error)
        }
    }
}

/// The version of the tables in the file, which `steps` know; 0 when there are none.
fn version(steps: &[&str], connection: &Connection, path: &Path) -> Result<usize> {
    let on_file = |error| failed_on("read the version of the tables in", path, error);
    let has_tables = connection
        .query_row("SELECT 1 FROM sqlite_master WHERE name = 'tramline_schema'", [], |_| Ok(()))
        .optional()
        .map_err(on_file)?;
    if has_tables.is_none() {
        return Ok(0);
    }
    let version: u32 = connection.query_row(VERSION, [], |row| row.get(0)).map_err(on_file)?;
    match version as usize {
        known if known <= steps.len() => Ok(known),
        _ => Err(too_new("open", path, version)),
    }
}

fn write_version(connection: &Connection, version: usize) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS tramline_schema (version INTEGER NOT NULL);
         DELETE FROM tramline_schema;
         UPDATE tramline_counter SET value = value + 1 WHERE name = 'topology';",
    )?;
    let insert = "INSERT INTO tramline_schema (version) VALUES (?1)";
    connection.execute(insert, [version as i64]).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(connection: &Connection) -> i64 {
        let sql = "SELECT value FROM tramline_counter WHERE name = 'topology'";
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_migration_tells_programs_that_have_the_file_open() {
        let connection = Connection::open_in_memory().unwrap();
        let path = Path::new("bus.db");
        migrate(&connection, path).unwrap();
        let before = topology(&connection);
        migrate(&connection, path).unwrap();
        assert_eq!((topology(&connection), unknown_version(&connection).unwrap()), (before, None));

        let newer = [STEPS, &["CREATE TABLE tramline_newer (n)"]].concat();
        migrate_by(&newer, &connection, path).unwrap();
        let version = u32::try_from(newer.len()).unwrap();
        assert!(topology(&connection) > before, "nobody would look");
        assert_eq!(unknown_version(&connection).unwrap(), Some(version));
        let told = too_new("write to", path, version).to_string();
        assert_eq!(check(&connection, path).unwrap_err().kind(), ErrorKind::Outdated);
        assert!(told.contains("write to bus.db: its tables have version"), "{told}");
    }

    #[test]
    fn a_migration_that_fails_leaves_the_file_as_it_was() {
        let connection = Connection::open_in_memory().unwrap();
        let path = Path::new("bus.db");
        migrate(&connection, path).unwrap();
        let before = topology(&connection);
        let newer = [STEPS, &["CREATE TABLE tramline_newer (n)", "CREATE TABLE"]].concat();
        migrate_by(&newer, &connection, path).unwrap_err();
        let table = "SELECT count(*) FROM sqlite_master WHERE name = 'tramline_newer'";
        let tables: i64 = connection.query_row(table, [], |row| row.get(0)).unwrap();
        assert_eq!((tables, topology(&connection)), (0, before));
        assert_eq!(unknown_version(&connection).unwrap(), None);
    }
}
