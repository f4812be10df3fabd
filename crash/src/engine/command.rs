//! How it is called.

use super::worlds;
use std::process::ExitCode;
use tramline::testing::Simulation;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many seeds, from 0
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Replay this one and print its steps
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
}

/// Runs the seeds, and tells the first that does not hold.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let simulation = Simulation::of(worlds::of_seed);
    let simulation = match arguments.seed {
        Some(seed) => {
            let simulation = simulation.seed(seed);
            println!("{}\n{}", worlds::name(seed), simulation.steps().join("\n"));
            simulation
        }
        None => simulation.seeds(0..arguments.seeds),
    };
    Ok(match simulation.run() {
        Ok(survived) => {
            println!("{survived}");
            ExitCode::SUCCESS
        }
        Err(found) => {
            println!("{}: {found}", worlds::name(found.seed()));
            println!("replay: cargo xtask crash engine --seed {}", found.seed());
            ExitCode::FAILURE
        }
    })
}
