//! What each path of the bus costs, beside a *twin*: the least that could be written by hand for
//! the same work (the same rows and headers, the same JSON written and read).
//!
//! ```text
//! cargo xtask bench memory|sqlite|store|postgres|rabbitmq|patterns [--json FILE] [--case WORDS]
//!     [--rounds 5] [--seconds 1]
//! cargo xtask bench sqlite|postgres --growth [--messages 5000000]
//! cargo xtask bench memory|sqlite --delayed --rounds 1
//! cargo xtask bench memory|sqlite|postgres --idle --rounds 1
//! cargo xtask bench rabbitmq --delayed --rounds 1
//! ```
//!
//! # How to read the figures
//!
//! - Twin and ours run in turns, in 5 rounds, and who goes first changes with each round. The
//!   figures are medians; the smallest and the largest of ours stand beside them. If those are far
//!   apart, something else was at work on the machine: run it again.
//! - Look at the **ratio**, ours to twin in the same run. The figures themselves belong to this
//!   machine at this hour, and mean nothing beside those of another run. For rates more is better,
//!   for times less.
//! - **CPU** is what the whole process used for a message, all its threads together, producers and
//!   the making of messages included. It is the steadiest figure.
//! - What is durable waits for the disk: the disk's own floor is printed first. Below 20 µs no disk
//!   is behind it (a RAM disk, a cache that lies), and no figure for durable work says anything.
//!
//! Every message is an order event of 256 bytes of JSON. Nothing here is asserted but that no
//! message is lost: a slow machine fails no test.

mod cli;
mod completion;
mod cpu;
mod delayed;
mod folder;
mod hand;
mod idle;
mod json;
mod latency;
mod load;
mod memory;
mod message;
mod other;
mod patterns;
mod postgres;
mod rabbitmq;
mod round;
mod sqlite;
mod stopwatch;
mod store;
mod table;

use clap::Parser;
use cli::{Arguments, Bench};
use round::{Case, Measured};
use std::error::Error;
use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            table::complain(&*error);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    match arguments.bench {
        Bench::Memory if arguments.delayed => {
            bench("memory", arguments, &delayed::cases(Bench::Memory))
        }
        Bench::Memory if arguments.idle => bench("memory", arguments, &idle::cases(Bench::Memory)),
        Bench::Memory => bench("memory", arguments, &memory::cases()),
        Bench::Sqlite if arguments.growth => growth(arguments),
        Bench::Sqlite if arguments.delayed => {
            on_disk("sqlite", arguments, &delayed::cases(Bench::Sqlite))
        }
        Bench::Sqlite if arguments.idle => {
            on_disk("sqlite", arguments, &idle::cases(Bench::Sqlite))
        }
        Bench::Sqlite => on_disk("sqlite", arguments, &sqlite::cases()),
        Bench::Postgres if arguments.growth => postgres::growth::run(arguments),
        Bench::Postgres if arguments.idle => bench("postgres", arguments, &postgres::idle_cases()),
        Bench::Postgres => on_disk("postgres", arguments, &postgres::cases()?),
        Bench::Rabbitmq if arguments.delayed => {
            bench("rabbitmq", arguments, &rabbitmq::delayed_cases())
        }
        Bench::Rabbitmq => on_disk("rabbitmq", arguments, &rabbitmq::cases()),
        Bench::Patterns => bench("patterns", arguments, &patterns::cases()),
        Bench::Store => on_disk("store", arguments, &store::cases()),
        Bench::Peer => {
            let messages = arguments.plan.messages.unwrap_or(1);
            match (&arguments.url, &arguments.file) {
                (Some(url), _) => postgres::peer::listen(url, messages, arguments.twin),
                (None, Some(file)) => sqlite::peer::listen(file, messages),
                (None, None) => Err("--url or --file is missing".into()),
            }
        }
    }
}

fn on_disk(name: &'static str, arguments: &Arguments, cases: &[Case]) -> Result<()> {
    table::floor(&folder::floor()?);
    bench(name, arguments, cases)
}

fn bench(name: &'static str, arguments: &Arguments, cases: &[Case]) -> Result<()> {
    table::head(name, &arguments.plan);
    let mut rows = Vec::new();
    for case in cases.iter().filter(|case| arguments.wants(case)) {
        let measured = round::measure(case, &arguments.plan)?;
        rows.extend(shown(name, case, &measured));
    }
    json::write(arguments.json.as_deref(), &rows)
}

fn growth(arguments: &Arguments) -> Result<()> {
    const BACKLOG: u64 = 5_000_000;
    table::floor(&folder::floor()?);
    let what = "sqlite: one run each, a large backlog beside a small one";
    table::growth_head(what, "small");
    let (case, measured) = sqlite::growth::measure(arguments.plan.messages.unwrap_or(BACKLOG))?;
    json::write(arguments.json.as_deref(), &shown("sqlite", &case, &measured))
}

/// Prints a case, and answers its rows for the file.
fn shown(name: &'static str, case: &Case, measured: &Measured) -> Vec<json::Row> {
    table::rows(case, measured);
    json::rows(name, case, measured)
}
