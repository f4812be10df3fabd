//! Everything that keeps a bus from starting.

use std::fmt;

/// Everything that is wrong with a bus, for the author of the application.
#[derive(Debug)]
pub struct StartError {
    problems: Vec<String>,
}

impl StartError {
    pub(super) fn of(problems: Vec<String>) -> Self {
        Self { problems }
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
