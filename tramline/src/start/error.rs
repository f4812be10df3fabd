//! Everything that keeps a bus, or events without one, from starting.

use std::fmt;
use tramline_core::{Error, ErrorKind};

/// Everything that is wrong with a bus, or with events without one, for the author of the application.
#[derive(Debug)]
pub struct StartError {
    /// What does not start.
    what: &'static str,
    kind: ErrorKind,
    problems: Vec<String>,
}

impl StartError {
    /// It is put together wrongly.
    pub(crate) fn of(what: &'static str, problems: Vec<String>) -> Self {
        Self { what, kind: ErrorKind::Misconfigured, problems }
    }

    /// The transport failed.
    pub(super) fn of_transport(error: &Error) -> Self {
        Self { what: "the bus", kind: error.kind(), problems: vec![error.to_string()] }
    }

    /// What this asks of whoever sees it: [`ErrorKind::Misconfigured`] if the bus is put together
    /// wrongly; if the transport failed, what that said.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// One line for each problem.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [problem] => write!(f, "failed to start {}: {problem}", self.what),
            problems => {
                write!(f, "failed to start {}, {} problems:", self.what, problems.len())?;
                problems.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
            }
        }
    }
}

impl std::error::Error for StartError {}
