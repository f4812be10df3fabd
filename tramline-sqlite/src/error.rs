//! SQLite's errors in the words of the bus.

use rusqlite::ErrorCode;
use std::fmt::Display;
use std::path::Path;
use tramline_core::{Error, ErrorKind};

/// The error of SQLite while doing `doing`, which completes "failed to …".
pub(crate) fn failed(doing: impl Into<String>, error: rusqlite::Error) -> Error {
    Error::new(kind(&error), doing).because(error)
}

/// The error of SQLite while doing `what` to the file at `path`, with what to do about it.
pub(crate) fn failed_on(what: &str, path: &Path, error: rusqlite::Error) -> Error {
    let doing = format!("{what} {}", path.display());
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => Error::new(ErrorKind::Corrupt, doing)
            .because("it is not a SQLite database, or it is encrypted"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Error::new(ErrorKind::Unavailable, doing).because(format!(
                "another process has held its lock for too long; look for a long transaction \
                 on this file, for example an open sqlite3 shell ({error})"
            ))
        }
        _ => failed(doing, error),
    }
}

/// What an error of SQLite asks of whoever sees it.
pub(crate) fn kind(error: &rusqlite::Error) -> ErrorKind {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => ErrorKind::Full,
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => ErrorKind::Corrupt,
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            ErrorKind::Misconfigured
        }
        Some(ErrorCode::TooBig) => ErrorKind::TooLarge,
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::SystemIoFailure
            | ErrorCode::OutOfMemory
            | ErrorCode::OperationAborted
            | ErrorCode::OperationInterrupted,
        ) => ErrorKind::Unavailable,
        _ => ErrorKind::Refused,
    }
}

/// Whether the disk, the memory or the file failed, and not the statement.
pub(crate) fn is_the_stores(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::OutOfMemory
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
                | ErrorCode::DatabaseBusy
        )
    )
}

/// A row that cannot be what was written.
pub(crate) fn corrupt(doing: impl Into<String>, why: impl Display) -> Error {
    Error::new(ErrorKind::Corrupt, doing).because(why.to_string())
}
