//! The command line.

use crate::round::{Case, Plan};
use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// Measures the bus beside hand-written twins
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// Which path to measure
    pub(crate) bench: Bench,
    /// Write the figures to this file too, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Only cases whose names contain this
    #[arg(long, value_name = "WORDS")]
    case: Option<String>,
    /// Of sqlite and postgres, only the growth: a backlog of 5 million messages, or so many that go
    /// through one queue, or as many as `--messages` says. Takes minutes and several GB of disk
    #[arg(long)]
    pub(crate) growth: bool,
    /// Of memory, sqlite and rabbitmq, only how late delayed messages leave. A round takes a minute
    #[arg(long, conflicts_with = "growth")]
    pub(crate) delayed: bool,
    /// Of memory, sqlite and postgres, only what a bus costs that has nothing to do
    #[arg(long, conflicts_with_all = ["growth", "delayed"])]
    pub(crate) idle: bool,
    #[command(flatten)]
    pub(crate) plan: Plan,
    /// The file that the other process listens on
    #[arg(long, hide = true, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The database that the other process listens on
    #[arg(long, hide = true)]
    pub(crate) url: Option<String>,
    /// The other process is the twin's
    #[arg(long, hide = true)]
    pub(crate) twin: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bench {
    /// The engine on memory
    Memory,
    /// The engine on a SQLite file
    Sqlite,
    /// The engine on PostgreSQL
    Postgres,
    /// Group transactions of handlers on a SQLite file
    Store,
    /// The engine on RabbitMQ
    Rabbitmq,
    /// What an application does around a queue, in one process
    Patterns,
    /// The other process of a bench
    #[value(hide = true)]
    Peer,
}

impl Arguments {
    pub(crate) fn wants(&self, case: &Case) -> bool {
        self.case.as_ref().is_none_or(|words| case.name.contains(words))
    }
}
