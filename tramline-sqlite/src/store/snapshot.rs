//! The file as it was at one moment.

use super::statements;
use rusqlite::{Connection, Params, Result, Row};
use std::fmt;

/// The file as it was at one moment: what is committed later is not seen. Nothing can be written.
///
/// Statements stay prepared. `PRAGMA`, `ATTACH` and transaction control are refused.
pub struct Snapshot<'a> {
    connection: &'a Connection,
}

impl<'a> Snapshot<'a> {
    pub(crate) fn new(connection: &'a Connection) -> Self {
        Self { connection }
    }

    /// The first row.
    ///
    /// # Errors
    /// What SQLite says, and [`rusqlite::Error::QueryReturnedNoRows`] without a row.
    pub fn query_row<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        statements::query_row(self.connection, sql, params, read)
    }

    /// The first row, if there is any.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn query_optional<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        statements::query_optional(self.connection, sql, params, read)
    }

    /// All rows.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn query_map<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        statements::query_map(self.connection, sql, params, read)
    }
}

impl fmt::Debug for Snapshot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}
