//! `cargo xtask crash rabbitmq`.

use super::broker::Broker;
use super::cluster::Members;
use super::planted::Bug;
use super::processes::Role;
use super::scenarios::{Scenario, Size, World};
use crate::child::show_logs;
use clap::ValueEnum;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;
use tramline::core::clock::{Entropy, SystemEntropy};

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
    let first = arguments.seed.unwrap_or_else(|| SystemEntropy.bits() as u64 % 1_000_000);
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
    let folder = tempfile::Builder::new().prefix("tramline-crash-").tempdir();
    let folder = folder.map_err(|error| format!("failed to make a folder: {error}"))?;
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
            Ok(Err(failed(folder, &faults, &format!("{short}--only {name} --seed {seed}"))))
        }
    }
}

/// Tells what does not hold, and keeps the files that show it.
fn failed(folder: TempDir, faults: &str, again: &str) -> ExitCode {
    let folder: &Path = &folder.keep();
    show_logs(folder);
    eprintln!("failed:\n{faults}");
    eprintln!("its files are in {}", folder.display());
    eprintln!("again: cargo xtask crash rabbitmq {again}");
    ExitCode::FAILURE
}

/// That handlers fail and brokers die is what they are told to do.
fn log(filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    log.with_writer(std::io::stderr).init();
}

fn runtime() -> Result<Runtime, String> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("failed to start a runtime: {error}"))
}
