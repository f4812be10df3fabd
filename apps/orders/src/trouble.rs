//! Why the service cannot go on, and whose turn it is.

use std::fmt;
use std::process::ExitCode;

/// A reason to end.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The command line or what it names is wrong: whoever called must change something.
    Misuse(String),
    /// The run went wrong: nothing is lost, and it goes on when it is started again.
    Broken(String),
}

impl Trouble {
    pub(crate) fn misuse(text: impl fmt::Display) -> Self {
        Self::Misuse(text.to_string())
    }

    pub(crate) fn broken(text: impl fmt::Display) -> Self {
        Self::Broken(text.to_string())
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Broken(_) => ExitCode::FAILURE,
            Self::Misuse(_) => ExitCode::from(2),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misuse(text) | Self::Broken(text) => f.write_str(text),
        }
    }
}
