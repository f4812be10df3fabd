//! The program around a scenario: its log, its folder, and how it ends when something does not hold.

use crate::child::show_logs;
use std::path::Path;
use std::process::ExitCode;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;
use tramline::core::clock::{Entropy, SystemEntropy};

/// That handlers fail and servers die is what they are told to do.
pub(crate) fn log(filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    log.with_writer(std::io::stderr).init();
}

pub(crate) fn runtime() -> Result<Runtime, String> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("failed to start a runtime: {error}"))
}

pub(crate) fn new_folder() -> Result<TempDir, String> {
    let folder = tempfile::Builder::new().prefix("tramline-crash-").tempdir();
    folder.map_err(|error| format!("failed to make a folder: {error}"))
}

/// The one that was said, or a new one.
pub(crate) fn seed(said: Option<u64>) -> u64 {
    said.unwrap_or_else(|| SystemEntropy.bits() as u64 % 1_000_000)
}

/// Tells what does not hold, and keeps the files that show it. `again` is the rest of the command line.
pub(crate) fn failed(folder: TempDir, faults: &str, again: &str) -> ExitCode {
    let folder: &Path = &folder.keep();
    show_logs(folder);
    eprintln!("failed:\n{faults}");
    eprintln!("its files are in {}", folder.display());
    eprintln!("again: cargo xtask crash {again}");
    ExitCode::FAILURE
}
