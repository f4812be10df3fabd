//! `cargo xtask crash sqlite`.

use super::consumer::Consumer;
use super::poison::{self, Taster};
use super::processes::{Round, show_logs};
use super::producer::Producer;
use super::round::{self, Figures};
use clap::Subcommand;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use tracing_subscriber::EnvFilter;
use tramline::core::clock::{Entropy, SystemEntropy};

/// What to run.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    /// How many rounds
    #[arg(long, default_value_t = 200)]
    rounds: u64,
    /// The seed of the first round, each further one counts up; drawn if not said. It says what is
    /// done to the processes and when, not how the machine schedules them
    #[arg(long)]
    seed: Option<u64>,
    /// Rounds of another kind: 1,000 messages taken ahead, 25 kills, and one message that kills
    #[arg(long)]
    poison: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What this program is when the driver starts it.
#[derive(Subcommand)]
enum Role {
    #[command(hide = true)]
    Produce(Producer),
    #[command(hide = true)]
    Consume(Consumer),
    #[command(hide = true)]
    Taste(Taster),
}

impl Role {
    fn round(&self) -> &Round {
        match self {
            Self::Produce(producer) => &producer.round,
            Self::Consume(consumer) => &consumer.round,
            Self::Taste(taster) => &taster.round,
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    match &arguments.role {
        None => drive(arguments),
        Some(role) => play(role).map(|()| ExitCode::SUCCESS),
    }
}

fn play(role: &Role) -> Result<(), String> {
    role.round().end_with_the_driver()?;
    // That handlers fail is what they are told to do.
    let filter = EnvFilter::new("warn,tramline::dead_letters=off");
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    log.with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("failed to start a runtime: {error}"))?;
    match role {
        Role::Produce(producer) => runtime.block_on(producer.run()),
        Role::Consume(consumer) => runtime.block_on(consumer.run()),
        Role::Taste(taster) => runtime.block_on(taster.run()),
    }
}

fn drive(arguments: &Arguments) -> Result<ExitCode, String> {
    let first = arguments.seed.unwrap_or_else(|| SystemEntropy.bits() as u64 % 1_000_000);
    println!("crash sqlite: {} rounds from seed {first}", arguments.rounds);
    let begun = Instant::now();
    let mut all = Figures::default();
    let mut one = |folder: &Path, seed| -> Result<String, String> {
        if arguments.poison {
            return poison::run(folder, seed).map(|figures| figures.to_string());
        }
        let figures = round::run(folder, seed)?;
        all.add(&figures);
        Ok(figures.to_string())
    };
    for seed in first..first + arguments.rounds {
        let folder = tempfile::Builder::new().prefix("tramline-crash-").tempdir();
        let folder = folder.map_err(|error| format!("failed to make a folder: {error}"))?;
        let round_begun = Instant::now();
        match one(folder.path(), seed) {
            Ok(figures) => {
                println!("seed {seed}: {figures}, {:.1} s", round_begun.elapsed().as_secs_f64());
            }
            Err(faults) => {
                let folder = folder.keep();
                show_logs(&folder);
                eprintln!("seed {seed} failed:\n{faults}");
                eprintln!("its files are in {}", folder.display());
                let poison = if arguments.poison { " --poison" } else { "" };
                eprintln!("again: cargo xtask crash sqlite{poison} --rounds 1 --seed {seed}");
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let sum = if arguments.poison { String::new() } else { format!(": {all}") };
    println!("{} rounds in {seconds:.0} s, all sound{sum}", arguments.rounds);
    Ok(ExitCode::SUCCESS)
}
