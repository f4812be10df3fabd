//! Everything that keeps a bus from starting.

use std::fmt;
use tramline_core::{Error, ErrorKind};

/// Everything that is wrong with a bus, for the author of the application.
#[derive(Debug)]
pub struct StartError {
    kind: ErrorKind,
    problems: Vec<String>,
}

impl StartError {
    /// The bus is put together wrongly.
    pub(super) fn of(problems: Vec<String>) -> Self {
        Self { kind: ErrorKind::Misconfigured, problems }
    }

    /// The transport failed.
    pub(super) fn of_transport(error: &Error) -> Self {
        Self { kind: error.kind(), problems: vec![error.to_string()] }
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
            [problem] => write!(f, "failed to start the bus: {problem}"),
            problems => {
                write!(f, "failed to start the bus, {} problems:", problems.len())?;
                problems.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
            }
        }
    }
}

impl std::error::Error for StartError {}
