//! What a failed closure means: its own fault, the limits' or the disk's.

use crate::error::{failed_on, is_the_stores};
use crate::writer::Work;
use rusqlite::ErrorCode;
use std::time::Duration;
use tramline_core::Failure;
use tramline_core::store::CommitError;

/// The error that a closure's failure stands for.
pub(super) fn classify(work: &Work<'_>, failure: Failure) -> CommitError {
    let Some(error) = failure.find::<rusqlite::Error>() else {
        return CommitError::Handler(failure);
    };
    match error.sqlite_error_code() {
        Some(ErrorCode::AuthorizationForStatementDenied) => {
            CommitError::Handler(Failure::permanent(format!(
                "{failure}: transaction control, ATTACH, PRAGMA and writing to the bus's own \
                 tables are not for closures"
            )))
        }
        Some(ErrorCode::OperationInterrupted) => {
            CommitError::Handler(over_time(work.shared.settings.statement_limit, &failure))
        }
        Some(_) if is_the_stores(error) => {
            let cause = match error {
                rusqlite::Error::SqliteFailure(code, text) => {
                    rusqlite::Error::SqliteFailure(*code, text.clone())
                }
                _ => return CommitError::Handler(failure),
            };
            CommitError::Store(failed_on("write to", &work.shared.path, cause))
        }
        _ => CommitError::Handler(failure),
    }
}

/// The failure of a closure or read whose SQL was stopped.
pub(super) fn over_time(limit: Duration, failure: &Failure) -> Failure {
    Failure::retryable(format!("its SQL was stopped after {limit:?}: {failure}"))
}

/// The failure of code that panicked.
pub(super) fn panicked(text: &str) -> Failure {
    Failure::retryable(format!("panicked: {text}"))
}
