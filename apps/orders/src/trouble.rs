//! Why the service cannot go on, and whose turn it is.

use std::fmt;
use std::process::ExitCode;
use tramline::ErrorKind;

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

    /// Why a bus stopped. To an outdated program no other start can help.
    pub(crate) fn of_bus(error: tramline::Error) -> Self {
        match error.kind() {
            ErrorKind::Outdated => Self::misuse(error),
            _ => Self::broken(error),
        }
    }

    /// What a process ends with that should not be started again as it is.
    pub(crate) const MISUSE: u8 = 2;

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Broken(_) => ExitCode::FAILURE,
            Self::Misuse(_) => ExitCode::from(Self::MISUSE),
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
