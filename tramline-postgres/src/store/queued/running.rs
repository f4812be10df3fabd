//! Queued statements run in a transaction that is open.

use super::statement::{Statement, shown};
use crate::store::failure::of_statement;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use tramline_core::store::CommitError;
use tramline_core::{Error, ErrorKind, Failure};

/// Runs them in their order, up to the first that fails.
pub(in crate::store) async fn run_all(
    statements: &[Statement],
    connection: &mut PgConnection,
) -> Result<(), CommitError> {
    for statement in statements {
        // The text is the handler's own; it came with its parameters apart.
        let mut query = sqlx::query(AssertSqlSafe(statement.shape.sql_by_types()));
        for parameter in &statement.parameters {
            query = query.bind(parameter);
        }
        let ran = query.execute(&mut *connection).await;
        ran.map_err(|error| of_statement(doing(&statement.shape.sql), &error))?;
    }
    Ok(())
}

/// The end of a unit whose statement the server refused with these words.
pub(in crate::store) fn statement_failed(sql: &str, words: &str) -> CommitError {
    let told = Error::new(ErrorKind::Refused, doing(sql)).because(words.to_owned());
    CommitError::Handler(Failure::retryable(told))
}

fn doing(sql: &str) -> String {
    format!("run {}", shown(sql))
}
