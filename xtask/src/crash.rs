//! `cargo xtask crash`: the crash tests in a release build, with their arguments passed through.

use crate::workspace::Workspace;
use clap::Args;
use std::ffi::OsString;
use std::process::ExitCode;

#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Arguments {
    /// `engine`, `sqlite`, `rabbitmq` or `postgres`, and what it is to be told; `--help` shows that
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Builds and runs the crash tests, and ends with their exit code.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    Workspace::here()?.hand_over(passed_on(arguments), "the crash tests")
}

/// The whole cargo command line of the crash tests.
fn passed_on(arguments: &Arguments) -> Vec<OsString> {
    let line = ["run", "--release", "--package", "tramline-crash", "--"].map(OsString::from);
    line.into_iter().chain(arguments.arguments.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn arguments_reach_the_crash_tests_in_their_order() {
        let line = Line::try_parse_from(["crash", "engine", "--seed", "7", "--help"]);
        let arguments = line.unwrap_or_else(|error| panic!("{error}")).arguments;
        assert_eq!(passed_on(&arguments)[4..], ["--", "engine", "--seed", "7", "--help"]);
    }
}
