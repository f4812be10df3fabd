//! What errors of `sqlx` mean.

use crate::error::kind_of_state;
use crate::open::Core;
use crate::schema;
use sqlx::postgres::{PgDatabaseError, PgSeverity};
use tramline_core::store::CommitError;
use tramline_core::{Error, ErrorKind, Failure};

/// The error of `sqlx` while doing `doing`, which completes "failed to …".
pub(super) fn failed(doing: impl Into<String>, error: &sqlx::Error) -> Error {
    Error::new(kind(error), doing).because(words(error))
}

/// What the server said, if it was the server.
fn said(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}

/// Whether the server said this.
pub(super) fn is_state(error: &sqlx::Error, state: &str) -> bool {
    said(error).is_some_and(|error| error.code() == state)
}

/// Whether the server has said that the statement, and its transaction with it, came to nothing. Else
/// its answer was lost: it may have been carried out.
fn is_certain(error: &sqlx::Error) -> bool {
    // One that ends a session may come between the commit and its answer.
    said(error).is_some_and(|error| matches!(error.severity(), PgSeverity::Error))
}

/// Whether the connection is of no use any more.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    let is_fatal = |said: &PgDatabaseError| !matches!(said.severity(), PgSeverity::Error);
    matches!(error, sqlx::Error::Io(_)) || said(error).is_some_and(is_fatal)
}

/// Whether a statement met a server that could not be reached, was ending or had no room: one that says
/// nothing about the statement.
pub(super) fn is_away(error: &sqlx::Error) -> bool {
    match (said(error), error) {
        (Some(_), _) if is_lost(error) => true,
        (Some(error), _) => is_the_servers(error.code()),
        (None, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut) => true,
        (None, _) => false,
    }
}

fn kind(error: &sqlx::Error) -> ErrorKind {
    match (said(error), error) {
        (Some(error), _) => kind_of_state(error.code()),
        (None, sqlx::Error::PoolClosed) => ErrorKind::Closed,
        (None, sqlx::Error::Configuration(_)) => ErrorKind::Misconfigured,
        (None, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) => ErrorKind::Corrupt,
        (None, sqlx::Error::Encode(_)) => ErrorKind::Refused,
        (None, _) => ErrorKind::Unavailable,
    }
}

fn words(error: &sqlx::Error) -> String {
    match said(error) {
        Some(said) => {
            let hint = said.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("{}{hint} [SQLSTATE {}]", said.message(), said.code())
        }
        None => error.to_string(),
    }
}

/// An error inside a handler's transaction, before it was committed: nothing is in.
pub(super) async fn inside(core: &Core, doing: String, error: &sqlx::Error) -> CommitError {
    if is_state(error, "TM001") {
        return CommitError::Handler(Failure::permanent(words(error)));
    }
    if is_state(error, "25P02") {
        let why = "a statement of its transaction had failed, and so all of it came to nothing";
        return CommitError::Handler(Failure::retryable(why));
    }
    CommitError::Store(explained(core, failed(doing, error)).await)
}

/// An error of a statement that a handler had queued, in its transaction: nothing is in.
pub(super) fn of_statement(doing: String, error: &sqlx::Error) -> CommitError {
    match is_away(error) {
        true => CommitError::Store(failed(doing, error)),
        // Whatever the server calls it, the server is there.
        false => {
            let refused = Error::new(ErrorKind::Refused, doing).because(words(error));
            CommitError::Handler(Failure::retryable(refused))
        }
    }
}

/// Whether this state says that the server failed, and not what was asked of it. Most of the classes that sound
/// like it can come of a statement, too: of one without its parameters, of a table on a server elsewhere,
/// of a sort that is too large.
pub(super) fn is_the_servers(state: &str) -> bool {
    // Its disk is full, it has too many clients, it is read-only, or it starts, stops or recovers.
    matches!(state, "53100" | "53300" | "25006") || state.starts_with("57P")
}

/// An error of `COMMIT` itself. What is checked at the end of a transaction only is the handler's.
pub(super) fn at_commit(doing: String, error: &sqlx::Error) -> CommitError {
    let error_of_store = failed(doing, error);
    if !is_certain(error) {
        return CommitError::Unknown(error_of_store);
    }
    match error_of_store.kind() {
        ErrorKind::Refused => CommitError::Handler(Failure::retryable(error_of_store)),
        _ => CommitError::Store(error_of_store),
    }
}

/// What is not as it should be may be so because a newer program has migrated the database.
pub(super) async fn explained(core: &Core, error: Error) -> Error {
    if error.kind() != ErrorKind::Misconfigured {
        return error;
    }
    let version = async {
        let connected = core.operating.try_connected().await?;
        schema::version(&connected, &core.target.to_string()).await
    };
    match version.await {
        Err(outdated) if outdated.kind() == ErrorKind::Outdated => outdated,
        _ => error,
    }
}
