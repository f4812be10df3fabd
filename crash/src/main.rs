//! Crash tests: `cargo xtask crash engine`, `sqlite`, `rabbitmq` and `postgres`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the terminal is its output")]

mod child;
mod dice;
mod engine;
mod journal;
mod postgres;
mod rabbitmq;
mod schedules;
mod servers;
mod sqlite;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Crash tests of Tramline
#[derive(Parser)]
#[command(name = "tramline-crash", bin_name = "cargo xtask crash")]
struct Arguments {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Subcommand)]
enum Subject {
    /// The engine on memory under faults drawn from a seed, its bus dropped after so many polls
    Engine(engine::Arguments),
    /// Producers and consumers on one SQLite file, killed and stopped at random
    Sqlite(sqlite::Arguments),
    /// A broker that is killed, networks that break, processes that die
    Rabbitmq(rabbitmq::Arguments),
    /// A PostgreSQL server that is killed and fails over, connections that it ends, processes that die
    Postgres(postgres::Arguments),
}

fn main() -> ExitCode {
    let ended = match Arguments::parse().subject {
        Subject::Engine(arguments) => engine::run(&arguments),
        Subject::Sqlite(arguments) => sqlite::run(&arguments),
        Subject::Rabbitmq(arguments) => rabbitmq::run(&arguments),
        Subject::Postgres(arguments) => postgres::run(&arguments),
    };
    ended.unwrap_or_else(|message| {
        eprintln!("error: {message}");
        ExitCode::from(2)
    })
}
