//! The order service: Tramline's reference application.
//!
//! 1. `cli`, `parent`: what was asked for, and the life of the process that was asked
//! 2. `data`, `order`, `money`: the orders that there are
//! 3. `post`, `http`: they are placed, over HTTP
//! 4. `database`, `messages`: each becomes a row and an event, in one transaction
//! 5. `bus`, `endpoints`, `gateway`: what follows from it, in handlers
//! 6. `workers`: which run in processes of their own
//! 7. `run`, `chaos`: all that is watched, and disturbed
//! 8. `report`: and must come out right, to the cent

mod accepted;
mod bus;
mod chaos;
mod cli;
mod clock;
mod data;
mod data_dir;
mod database;
mod endpoints;
mod gateway;
mod http;
mod messages;
mod money;
mod order;
mod parent;
mod post;
mod report;
mod run;
mod terminal;
mod trouble;
mod workers;

use clap::Parser;
use cli::CommandLine;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::runtime::Builder;
use tramline::core::clock::SystemClock;
use trouble::Trouble;

/// Threads for async work in each process. Beside them each process has one that writes, and the
/// default is three processes: more threads would only take turns on a small machine.
const THREADS: usize = 2;

fn main() -> ExitCode {
    let line = CommandLine::parse();
    terminal::log();
    match run(&line) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(trouble) => {
            terminal::note(format_args!("error: {trouble}"));
            trouble.exit_code()
        }
    }
}

/// Answers whether what was asked for went well.
fn run(line: &CommandLine) -> Result<bool, Trouble> {
    let workers = line.check()?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .map_err(Trouble::broken)?;
    let clock = Arc::new(SystemClock);
    match (line.worker, &line.broker, &line.database) {
        (true, Some(broker), Some(database)) => {
            runtime.block_on(workers::work(broker, database, clock)).map(|()| true)
        }
        _ => runtime.block_on(parent::parent(line, workers, clock)),
    }
}
