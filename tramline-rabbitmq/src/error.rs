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
    let refused = [ErrorKind::Refused, ErrorKind::NotFound, ErrorKind::Conflict];
    match (kind(&error), about_tls(&error)) {
        (_, Some(advice)) => {
            Error::new(ErrorKind::Misconfigured, doing).because(format!("{advice}: {error}"))
        }
        (kind, None) if refused.contains(&kind) => {
            Error::new(ErrorKind::Misconfigured, doing).because(error)
        }
        (kind, None) => Error::new(kind, doing).because(error),
    }
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

/// What to do about certificates that do not fit. They come as I/O errors whose cause is the TLS
/// library's: its own refusal, or the alert by which the broker tells us of its.
fn about_tls(error: &lapin::Error) -> Option<&'static str> {
    let Reported::IOError(error) = error.kind() else { return None };
    let text = error.to_string();
    if text.contains("received fatal alert") {
        return Some("the broker refuses the client's certificate (options `cert` and `key`)");
    }
    if text.contains("not valid for name") || text.contains("NotValidForName") {
        return Some(
            "the broker's certificate is not for this host: connect by a name that it has, or have \
             one made for this name",
        );
    }
    let is_ours = error.kind() == io::ErrorKind::InvalidData || text.contains("certificate");
    is_ours.then_some("the broker's certificate is not trusted (option `ca` names who signs it)")
}
