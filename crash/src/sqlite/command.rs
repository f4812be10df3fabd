//! `cargo xtask crash sqlite`.

use super::consumer::Consumer;
use super::processes::show_logs;
use super::producer::Producer;
use super::round::{self, Figures};
use clap::Subcommand;
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
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    match &arguments.role {
        None => drive(arguments),
        Some(role) => play(role).map(|()| ExitCode::SUCCESS),
    }
}

fn play(role: &Role) -> Result<(), String> {
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
    }
}

fn drive(arguments: &Arguments) -> Result<ExitCode, String> {
    let first = arguments.seed.unwrap_or_else(|| SystemEntropy.bits() as u64 % 1_000_000);
    println!("crash sqlite: {} rounds from seed {first}", arguments.rounds);
    let begun = Instant::now();
    let mut all = Figures::default();
    for seed in first..first + arguments.rounds {
        let folder = tempfile::Builder::new().prefix("tramline-crash-").tempdir();
        let folder = folder.map_err(|error| format!("failed to make a folder: {error}"))?;
        let round_begun = Instant::now();
        match round::run(folder.path(), seed) {
            Ok(figures) => {
                println!("seed {seed}: {figures}, {:.1} s", round_begun.elapsed().as_secs_f64());
                all.add(&figures);
            }
            Err(faults) => {
                let folder = folder.keep();
                show_logs(&folder);
                eprintln!("seed {seed} failed:\n{faults}");
                eprintln!("its files are in {}", folder.display());
                eprintln!("again: cargo xtask crash sqlite --rounds 1 --seed {seed}");
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{} rounds in {seconds:.0} s, all sound: {all}", arguments.rounds);
    Ok(ExitCode::SUCCESS)
}
