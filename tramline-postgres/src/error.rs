//! PostgreSQL's errors in the words of the bus.

use tokio_postgres::error::{Severity, SqlState};
use tramline_core::{Error, ErrorKind};

/// The error of PostgreSQL while doing `doing`, which completes "failed to …".
pub(crate) fn failed(doing: impl Into<String>, error: &tokio_postgres::Error) -> Error {
    Error::new(kind(error), doing).because(words(error))
}

/// Whether the server has said that the statement, and its transaction with it, came to nothing. Else
/// its answer was lost: it may have been carried out.
pub(crate) fn is_certain(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| {
        // One that ends a session may come between the commit and its answer.
        matches!(error.parsed_severity(), Some(Severity::Error))
    })
}

/// What an error of PostgreSQL asks of whoever sees it.
pub(crate) fn kind(error: &tokio_postgres::Error) -> ErrorKind {
    match error.code() {
        Some(state) => kind_of_state(state.code()),
        None => ErrorKind::Unavailable,
    }
}

/// The same for an SQLSTATE, whoever brings it.
pub(crate) fn kind_of_state(state: &str) -> ErrorKind {
    match state {
        state if state == SqlState::DISK_FULL.code() => ErrorKind::Full,
        // A statement that was cancelled or took too long.
        "57014" => ErrorKind::TimedOut,
        // A server that was promoted or restored a moment ago, or is about to be.
        "25006" => ErrorKind::Unavailable,
        "42501" | "3D000" | "3F000" | "42P01" | "42883" | "42703" => ErrorKind::Misconfigured,
        "54000" | "22001" => ErrorKind::TooLarge,
        _ => match state.get(..2) {
            Some("08" | "40" | "53" | "55" | "57" | "58") => ErrorKind::Unavailable,
            Some("28") => ErrorKind::Misconfigured,
            Some("XX") => ErrorKind::Corrupt,
            _ => ErrorKind::Refused,
        },
    }
}

/// What it says, in one line, with the hint that the server gives.
pub(crate) fn words(error: &tokio_postgres::Error) -> String {
    let Some(said) = error.as_db_error() else {
        return match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
    };
    let hint = said.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    let state = said.code().code();
    let advice = advice(state).map(|advice| format!("; {advice}")).unwrap_or_default();
    format!("{}{hint} [SQLSTATE {state}]{advice}", said.message())
}

/// What to do about an SQLSTATE that has the same cause each time.
fn advice(state: &str) -> Option<&'static str> {
    Some(match state {
        "25006" => {
            "the server is a standby, or was set to be read-only: work goes on when it is not"
        }
        "28P01" | "28000" => "look at the user and the password of the URL, and at pg_hba.conf",
        "3D000" => "create the database, or name another in the URL",
        "53100" => "make room on the disk of the server: work goes on then",
        "53300" => {
            "raise max_connections, or the limit of the database or role, or let fewer programs in"
        }
        "57014" => "somebody has cancelled it, or the server's statement_timeout is too short",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        for (state, kind) in [
            ("57P01", ErrorKind::Unavailable),
            ("57P03", ErrorKind::Unavailable),
            ("25006", ErrorKind::Unavailable),
            ("40P01", ErrorKind::Unavailable),
            ("53300", ErrorKind::Unavailable),
            ("57014", ErrorKind::TimedOut),
            ("53100", ErrorKind::Full),
            ("28P01", ErrorKind::Misconfigured),
            ("3D000", ErrorKind::Misconfigured),
            ("42501", ErrorKind::Misconfigured),
            ("22P05", ErrorKind::Refused),
            ("XX001", ErrorKind::Corrupt),
        ] {
            assert_eq!(kind_of_state(state), kind, "{state}");
        }
    }
}
