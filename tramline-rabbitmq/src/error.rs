//! What the broker and the client report becomes an error that says what to do.

use lapin::ErrorKind as Reported;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use std::io;
use tramline_core::{Error, ErrorKind};

/// The error of an operation on the broker; `doing` completes "failed to …" and names the thing.
pub(crate) fn failed(doing: impl Into<String>, error: lapin::Error) -> Error {
    Error::new(kind(&error), doing).because(error)
}

/// The error of an attempt to connect. What is wrong with who connects, rather than with the broker's
/// state, is a matter of configuration.
pub(crate) fn not_connected(doing: impl Into<String>, error: lapin::Error) -> Error {
    let kind = match kind(&error) {
        ErrorKind::Refused | ErrorKind::NotFound | ErrorKind::Conflict => ErrorKind::Misconfigured,
        _ if is_about_tls(&error) => ErrorKind::Misconfigured,
        kind => kind,
    };
    Error::new(kind, doing).because(error)
}

/// What an error asks of whoever sees it.
pub(crate) fn kind(error: &lapin::Error) -> ErrorKind {
    match error.kind() {
        Reported::ProtocolError(error) => match error.kind() {
            AMQPErrorKind::Soft(soft) => soft_kind(soft),
            AMQPErrorKind::Hard(hard) => hard_kind(hard),
        },
        Reported::SerialisationError(_) => ErrorKind::TooLarge,
        Reported::ParsingError(_) | Reported::InvalidProtocolVersion(_) => ErrorKind::Corrupt,
        Reported::AuthProviderError(_) => ErrorKind::Misconfigured,
        Reported::IOError(error) if error.kind() == io::ErrorKind::TimedOut => ErrorKind::TimedOut,
        _ => ErrorKind::Unavailable,
    }
}

/// Whether the broker said that a queue or an exchange is not there.
pub(crate) fn is_missing(error: &lapin::Error) -> bool {
    kind(error) == ErrorKind::NotFound
}

fn soft_kind(error: &AMQPSoftError) -> ErrorKind {
    match error {
        AMQPSoftError::CONTENTTOOLARGE => ErrorKind::TooLarge,
        AMQPSoftError::NOTFOUND | AMQPSoftError::NOROUTE => ErrorKind::NotFound,
        AMQPSoftError::RESOURCELOCKED | AMQPSoftError::PRECONDITIONFAILED => ErrorKind::Conflict,
        AMQPSoftError::ACCESSREFUSED | AMQPSoftError::NOCONSUMERS => ErrorKind::Refused,
    }
}

fn hard_kind(error: &AMQPHardError) -> ErrorKind {
    match error {
        AMQPHardError::NOTALLOWED | AMQPHardError::NOTIMPLEMENTED => ErrorKind::Refused,
        AMQPHardError::INVALIDPATH => ErrorKind::NotFound,
        AMQPHardError::FRAMEERROR | AMQPHardError::SYNTAXERROR => ErrorKind::TooLarge,
        _ => ErrorKind::Unavailable,
    }
}

/// Certificates that do not fit come as I/O errors whose cause is the TLS library's.
fn is_about_tls(error: &lapin::Error) -> bool {
    let Reported::IOError(error) = error.kind() else { return false };
    let text = error.to_string();
    error.kind() == io::ErrorKind::InvalidData || text.contains("certificate")
}
