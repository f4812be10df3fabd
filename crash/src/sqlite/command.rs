//! `cargo xtask crash sqlite`.

use super::consumer::Consumer;
use super::poison::{self, Taster};
use super::producer::Producer;
use super::round::{self, Figures};
use super::schedules;
use super::soak::{self, Soak};
use crate::schedules::{Bug, Planner};
use crate::servers::{failed, log, new_folder, runtime, seed};
use clap::Subcommand;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tramline::Sqlite;

/// What to run.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    /// How many rounds
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// The seed of the first round, each further one counts up; drawn if not said. It says what is
    /// done to the processes and when, not how the machine schedules them
    #[arg(long)]
    seed: Option<u64>,
    /// Rounds of another kind: 1,000 messages taken ahead, 25 kills, and one message that kills
    #[arg(long)]
    poison: bool,
    /// Rounds of another kind: processes that schedule, cancel and fire, and 25 kills
    #[arg(long, conflicts_with = "poison")]
    schedules: bool,
    /// What is wrong on purpose, in rounds with schedules that must find it
    #[arg(long, value_name = "BUG", requires = "schedules", hide = true)]
    plant: Option<Bug>,
    /// Instead of rounds: one file for so long (90s, 60m, 1h) under an even load, with calm between
    /// kills and stops, and a line each minute. Ends with an error if something grows without end or
    /// stands still, which is judged from two minutes on
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with_all = ["rounds", "poison", "schedules"])]
    soak: Option<Duration>,
    /// Of a soak: messages a second of all producers
    #[arg(long, default_value_t = 100, requires = "soak")]
    rate: u64,
    /// Of a soak: write the figures to this file too, as JSON
    #[arg(long, value_name = "FILE", requires = "soak")]
    json: Option<PathBuf>,
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
    #[command(hide = true)]
    Plan(Planner),
}

impl Role {
    fn end_with_the_driver(&self) -> Result<(), String> {
        match self {
            Self::Produce(producer) => producer.round.end_with_the_driver(),
            Self::Consume(consumer) => consumer.round.end_with_the_driver(),
            Self::Taste(taster) => taster.round.end_with_the_driver(),
            Self::Plan(planner) => planner.place.end_with_the_driver(),
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
    role.end_with_the_driver()?;
    log("warn,tramline::dead_letters=off");
    let runtime = runtime()?;
    match role {
        Role::Produce(producer) => runtime.block_on(producer.run()),
        Role::Consume(consumer) => runtime.block_on(consumer.run()),
        Role::Taste(taster) => runtime.block_on(taster.run()),
        Role::Plan(planner) => runtime.block_on(planner.run::<Sqlite>()),
    }
}

fn drive(arguments: &Arguments) -> Result<ExitCode, String> {
    let seed = seed(arguments.seed);
    match arguments.soak {
        Some(length) => soak(arguments, length, seed),
        None => rounds(arguments, seed),
    }
}

fn soak(arguments: &Arguments, length: Duration, seed: u64) -> Result<ExitCode, String> {
    let Arguments { rate, json, .. } = arguments;
    let soak = Soak { seed, length, rate: *rate, json: json.clone() };
    let folder = new_folder()?;
    if let Err(faults) = soak::run(folder.path(), &soak) {
        let again = format!("sqlite --soak {}s --rate {rate} --seed {seed}", length.as_secs());
        return Ok(failed(folder, &faults, &again));
    }
    println!("\nall sound");
    Ok(ExitCode::SUCCESS)
}

fn rounds(arguments: &Arguments, first: u64) -> Result<ExitCode, String> {
    println!("crash sqlite: {} rounds from seed {first}", arguments.rounds);
    let begun = Instant::now();
    let mut all = Figures::default();
    let mut one = |folder: &Path, seed| -> Result<String, String> {
        if arguments.poison {
            return poison::run(folder, seed).map(|figures| figures.to_string());
        }
        if arguments.schedules {
            return schedules::run(folder, seed, arguments.plant);
        }
        let figures = round::run(folder, seed)?;
        all.add(&figures);
        Ok(figures.to_string())
    };
    for seed in first..first + arguments.rounds {
        let folder = new_folder()?;
        let round_begun = Instant::now();
        match one(folder.path(), seed) {
            Ok(figures) => {
                println!("seed {seed}: {figures}, {:.1} s", round_begun.elapsed().as_secs_f64());
            }
            Err(faults) => {
                let kind = arguments.kind();
                let again = format!("sqlite {kind}--rounds 1 --seed {seed}");
                return Ok(failed(folder, &faults, &again));
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let sum = if !arguments.kind().is_empty() { String::new() } else { format!(": {all}") };
    println!("{} rounds in {seconds:.0} s, all sound{sum}", arguments.rounds);
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    /// What rounds of another kind are asked for by.
    fn kind(&self) -> &'static str {
        match (self.poison, self.schedules) {
            (true, _) => "--poison ",
            (_, true) => "--schedules ",
            _ => "",
        }
    }
}

/// A number of seconds, minutes or hours: `90s`, `60m`, `1h`.
fn time(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600)];
    let seconds = units.into_iter().find_map(|(unit, seconds)| {
        text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(seconds)
    });
    match seconds {
        Some(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
        _ => Err("a number of seconds, minutes or hours: 90s, 60m, 1h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_seconds_minutes_or_hours() {
        assert_eq!(
            ["90s", "60m", "1h"].map(time),
            [90, 3600, 3600].map(|s| Ok(Duration::from_secs(s)))
        );
        for text in ["", "60", "m", "-1m", "0s", "1.5h", "5 m", "99999999999999999999h"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
