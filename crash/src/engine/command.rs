//! How it is called.

use std::process::ExitCode;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many seeds
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// Replay this one
    #[arg(long)]
    seed: Option<u64>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    println!("{} {:?}", arguments.seeds, arguments.seed);
    Err("not built".to_owned())
}
