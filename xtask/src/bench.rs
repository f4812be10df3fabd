//! `cargo xtask bench`: the benches in a release build, with their arguments passed through.

use crate::workspace::Workspace;
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::process::ExitCode;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Which path to measure
    name: Bench,
    /// Write the figures to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<OsString>,
    /// Passed to the bench as they are
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    others: Vec<OsString>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Bench {
    /// The in-memory transport
    Memory,
    /// The SQLite transport
    Sqlite,
    /// The inbox and the outbox beside a handler's own SQL
    Store,
    /// PostgreSQL as transport and as store, on the server of `cargo xtask services`
    Postgres,
    /// The RabbitMQ transport, on the server of `cargo xtask services`
    Rabbitmq,
    /// Queues inside the process, and more to come
    Patterns,
}

/// Builds and runs one bench, and ends with its exit code.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    Workspace::here()?.hand_over(passed_on(arguments), "the bench")
}

/// The whole cargo command line of a bench.
fn passed_on(arguments: &Arguments) -> Vec<OsString> {
    let name = match arguments.name {
        Bench::Memory => "memory",
        Bench::Sqlite => "sqlite",
        Bench::Store => "store",
        Bench::Postgres => "postgres",
        Bench::Rabbitmq => "rabbitmq",
        Bench::Patterns => "patterns",
    };
    let mut line: Vec<OsString> =
        ["run", "--release", "--package", "tramline-benches", "--", name].map(Into::into).into();
    if let Some(file) = &arguments.json {
        line.extend([OsString::from("--json"), file.clone()]);
    }
    line.extend(arguments.others.iter().cloned());
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn line(words: &[&str]) -> Vec<OsString> {
        let words = std::iter::once("bench").chain(words.iter().copied());
        passed_on(&Line::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).arguments)
    }

    #[test]
    fn the_file_for_the_figures_reaches_the_bench() {
        assert_eq!(
            line(&["store", "--json", "out.json"])[4..],
            ["--", "store", "--json", "out.json"]
        );
    }

    #[test]
    fn arguments_it_does_not_know_reach_the_bench_in_their_order() {
        assert_eq!(
            line(&["memory", "--rounds", "5", "--json", "out.json"])[4..],
            ["--", "memory", "--rounds", "5", "--json", "out.json"]
        );
    }
}
