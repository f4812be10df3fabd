//! `cargo xtask crash postgres`.

use super::planted::Bug;
use super::processes::Role;
use super::scenarios::{Scenario, Size, World};
use super::server::Server;
use crate::servers::{failed, log, new_folder, runtime, seed};
use clap::ValueEnum;
use std::process::ExitCode;
use std::time::Instant;
use tokio::runtime::Runtime;

/// What these crash tests are called on a command line.
pub(crate) const SUBJECT: &str = "postgres";

/// What to run.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    /// How many rounds of all scenarios
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// One scenario alone, or several with commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<Scenario>,
    /// The seed of the first round, each further one counts up; drawn if not said. It says what is
    /// done and when, not how the machine and the server answer
    #[arg(long)]
    seed: Option<u64>,
    /// Less of each, for the tests
    #[arg(long)]
    short: bool,
    /// The instance of `postgres` to use, instead of a new one; its processes are killed
    #[arg(long, value_name = "INSTANCE")]
    server: Option<String>,
    /// What is wrong on purpose, in the scenario that must find it
    #[arg(long, value_name = "BUG", requires = "only", hide = true)]
    plant: Option<Bug>,
    #[command(subcommand)]
    role: Option<Role>,
}

/// That handlers fail and servers die is what they are told to do.
const FILTER: &str = "lapin=off,sqlx=off,tramline::dead_letters=off";

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    match &arguments.role {
        None => drive(arguments),
        Some(role) => play(role).map(|()| ExitCode::SUCCESS),
    }
}

fn play(role: &Role) -> Result<(), String> {
    role.place().end_with_the_driver()?;
    log(&format!("warn,{FILTER}"));
    runtime()?.block_on(role.play())
}

fn drive(arguments: &Arguments) -> Result<ExitCode, String> {
    log(&format!("off,{FILTER}"));
    let first = seed(arguments.seed);
    let scenarios = match &arguments.only[..] {
        [] => Scenario::value_variants(),
        only => only,
    };
    println!("crash postgres: {} rounds from seed {first}", arguments.rounds);
    let server = Server::start(arguments.server.as_deref())?;
    let runtime = runtime()?;
    let begun = Instant::now();
    for seed in first..first + arguments.rounds {
        for scenario in scenarios {
            if let Err(faults) = one(&runtime, *scenario, &server, seed, arguments)? {
                return Ok(faults);
            }
        }
    }
    println!("{} rounds in {:.0} s, all sound", arguments.rounds, begun.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

/// One scenario from a new folder to the count.
fn one(
    runtime: &Runtime,
    scenario: Scenario,
    server: &Server,
    seed: u64,
    arguments: &Arguments,
) -> Result<Result<(), ExitCode>, String> {
    let folder = new_folder()?;
    let name = scenario.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
    let size = if arguments.short { Size::Short } else { Size::Whole };
    let (server, folder_of, plant) = (server.clone(), folder.path().to_owned(), arguments.plant);
    let world = World { server, folder: folder_of, seed, size, plant };
    let begun = Instant::now();
    match runtime.block_on(scenario.run(&world)) {
        Ok(told) => {
            println!("{name}, seed {seed}: {told}, {:.1} s", begun.elapsed().as_secs_f64());
            Ok(Ok(()))
        }
        Err(faults) => {
            let short = if arguments.short { "--short " } else { "" };
            let again = format!("{SUBJECT} {short}--only {name} --seed {seed}");
            Ok(Err(failed(folder, &faults, &again)))
        }
    }
}
