//! Why a server is not there.

use std::fmt;

/// What this crate's functions answer.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a server is not there, and what to do about it.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// This machine cannot offer the server of this kind; tests that need it may be skipped.
    Absent {
        /// The kind of server, as in `--require KIND`.
        kind: &'static str,
        /// What is missing and what to do.
        why: String,
    },
    /// It should be there and is not: something is broken, and nothing may be skipped for it.
    Failed(String),
}

impl Error {
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self::Failed(what.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent { why, .. } => f.write_str(why),
            Self::Failed(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}
