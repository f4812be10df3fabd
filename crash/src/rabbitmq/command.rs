//! `cargo xtask crash rabbitmq`.

use super::broker::Broker;
use super::cluster::Members;
use super::planted::Bug;
use super::processes::Role;
use super::scenarios::{Scenario, Size, World};
use crate::servers::{failed, log, new_folder, runtime, seed};
use clap::ValueEnum;
use std::process::ExitCode;
use std::time::Instant;
use tokio::runtime::Runtime;

/// What these crash tests are called on a command line.
pub(crate) const SUBJECT: &str = "rabbitmq";

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
    /// done and when, not how the machine and the broker answer
    #[arg(long)]
    seed: Option<u64>,
    /// Less of each, for the tests
    #[arg(long)]
    short: bool,
    /// The instance of `rabbitmq` to use, instead of a new one; its processes are killed
    #[arg(long, value_name = "INSTANCE")]
    server: Option<String>,
    /// What the driver of the broker does wrong in the scenarios `broker` and `consumers`, which must
    /// find it
    #[arg(long, value_name = "BUG", requires = "only", hide = true)]
    plant: Option<Bug>,
    #[command(subcommand)]
    role: Option<Role>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    match &arguments.role {
        None => drive(arguments),
        Some(role) => play(role).map(|()| ExitCode::SUCCESS),
    }
}

fn play(role: &Role) -> Result<(), String> {
    role.place().end_with_the_driver()?;
    log("warn,lapin=off,tramline::dead_letters=off");
    runtime()?.block_on(role.play())
}

fn drive(arguments: &Arguments) -> Result<ExitCode, String> {
    log("error,lapin=off,tramline::dead_letters=off");
    let first = seed(arguments.seed);
    let scenarios = match &arguments.only[..] {
        [] => Scenario::value_variants(),
        only => only,
    };
    println!("crash rabbitmq: {} rounds from seed {first}", arguments.rounds);
    let alone = scenarios.iter().any(|scenario| !scenario.is_of_cluster());
    let broker = alone.then(|| Broker::start(arguments.server.as_deref())).transpose()?;
    let runtime = runtime()?;
    let begun = Instant::now();
    for seed in first..first + arguments.rounds {
        for scenario in scenarios {
            if let Err(faults) = one(&runtime, *scenario, broker.clone(), seed, arguments)? {
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
    broker: Option<Broker>,
    seed: u64,
    arguments: &Arguments,
) -> Result<Result<(), ExitCode>, String> {
    let folder = new_folder()?;
    let name = scenario.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
    let cluster = scenario.is_of_cluster().then(Members::start).transpose()?;
    let size = if arguments.short { Size::Short } else { Size::Whole };
    let (folder_of, plant) = (folder.path().to_owned(), arguments.plant);
    let world = World { broker, cluster, folder: folder_of, seed, size, plant };
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
