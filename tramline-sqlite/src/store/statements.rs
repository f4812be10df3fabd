//! The few ways in which users read rows, the same in snapshots and in transactions.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Result, Row};

/// A user's statement. Its text is never that of one of the bus's own, which would be found in the
/// cache and run past the authorizer.
pub(super) fn prepare<'c>(connection: &'c Connection, sql: &str) -> Result<CachedStatement<'c>> {
    connection.prepare_cached(&format!("/* user */ {sql}"))
}

pub(super) fn query_row<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> Result<T>,
) -> Result<T> {
    prepare(connection, sql)?.query_row(params, read)
}

pub(super) fn query_optional<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> Result<T>,
) -> Result<Option<T>> {
    query_row(connection, sql, params, read).optional()
}

pub(super) fn query_map<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    prepare(connection, sql)?.query_map(params, read)?.collect()
}
