//! What operators read when a transport or a store could not do its work.

use std::fmt;
use std::sync::Arc;

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The result of every transport and store contract.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What an error asks of whoever sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The broker or database cannot be reached or is busy; trying again may help.
    Unavailable,
    /// It did not answer in time; what was asked may or may not have happened.
    TimedOut,
    /// It refused this request; the same request will be refused again.
    Refused,
    /// A queue, topic or row that was named is not there.
    NotFound,
    /// Something of that name exists and differs.
    Conflict,
    /// This program is too old for what it works on: a newer one has changed that for good, and
    /// nothing that this process asks for is done any more. A bus that meets it stops.
    ///
    /// For drivers: a database says it when its tables are newer, Kafka when its brokers no longer
    /// speak the client's protocol. A queue that only differs, as on RabbitMQ, is a
    /// [`Conflict`](Self::Conflict).
    Outdated,
    /// This transport cannot do that. Nothing was done.
    Unsupported,
    /// A URL, an option or an environment is wrong.
    Misconfigured,
    /// What was read cannot be what was written.
    Corrupt,
    /// A body, header or name is over a limit.
    TooLarge,
    /// A queue is at its maximum length, or a disk is full.
    Full,
    /// The transport or store was closed.
    Closed,
}

/// An operation that failed: what was being done, on what, and why.
///
/// Its text reads "failed to …: cause". [`Error::kind`] says what to do about it. Clones share the
/// cause: one failure can be told to many.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    doing: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `doing` completes the sentence "failed to …" and names the thing.
    pub fn new(kind: ErrorKind, doing: impl Into<String>) -> Self {
        Self { kind, doing: doing.into(), source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into().into());
        self
    }

    /// `transport` cannot do `what`: refused, never ignored.
    pub fn unsupported(what: &str, transport: &str) -> Self {
        Self::new(ErrorKind::Unsupported, format!("use {what}: {transport} does not offer it"))
    }

    /// The transport or store called `name` is closed.
    pub fn closed(name: &str) -> Self {
        Self::new(ErrorKind::Closed, format!("use {name}: it is closed"))
    }

    /// What this error asks of whoever sees it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without anyone's help.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::TimedOut)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {}", self.doing)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

/// The cause is part of the text, so the chain goes on behind it. Only that this program is outdated
/// is said in the chain, too: an error that stands for this one and answers its source
/// (`#[error(transparent)]`) keeps that much of it.
impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.kind {
            ErrorKind::Outdated => Some(&Outdated),
            _ => self.source.as_deref().and_then(std::error::Error::source),
        }
    }
}

/// Stands behind every error of its kind.
#[derive(Debug)]
pub(crate) struct Outdated;

impl fmt::Display for Outdated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this program is outdated")
    }
}

impl std::error::Error for Outdated {}
