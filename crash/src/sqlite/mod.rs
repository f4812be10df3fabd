//! Processes on one file.

use std::process::ExitCode;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many rounds
    #[arg(long, default_value_t = 200)]
    rounds: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    println!("{}", arguments.rounds);
    Err("not built".to_owned())
}
