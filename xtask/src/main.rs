//! The project's own commands: `cargo xtask test`, `bench`, `crash`, `fuzz` and `services`.
//!
//! It starts programs and judges what they did; it links no crate of Tramline, only its servers for
//! tests, so that it builds and reports even when they do not.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the terminal is its output")]

mod bench;
mod crash;
mod fuzz;
mod kill;
mod process_group;
mod process_tree;
mod services;
mod test;
mod workspace;

use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

/// The project's own commands
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run every check: style, documentation, tests, examples and the order service
    Test(test::Arguments),
    /// Compare a path with its hand-written twin in one release build
    Bench(bench::Arguments),
    /// Let the engine, processes on one SQLite file, a broker or a PostgreSQL server crash, and count what is left
    Crash(crash::Arguments),
    /// Feed what comes in from outside with inputs that nobody thought of
    Fuzz(fuzz::Arguments),
    /// Start, stop and kill real servers for tests, with data and ports of their own
    Services(services::Arguments),
}

fn main() -> ExitCode {
    let ended = match Arguments::parse().command {
        Some(Command::Test(arguments)) => test::run(&arguments),
        Some(Command::Bench(arguments)) => bench::run(&arguments),
        Some(Command::Crash(arguments)) => crash::run(&arguments),
        Some(Command::Fuzz(arguments)) => fuzz::run(&arguments),
        Some(Command::Services(arguments)) => services::run(&arguments),
        None => Arguments::command()
            .print_help()
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| format!("failed to print the help: {error}")),
    };
    ended.unwrap_or_else(|message| {
        eprintln!("error: {message}");
        ExitCode::from(2)
    })
}
