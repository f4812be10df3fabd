//! Another process of a bench: this program starts itself.

use crate::latency::Latencies;
use crate::round::Run;
use crate::stopwatch::Stopwatch;
use crate::{Result, table};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// What the other process has to say at last.
#[derive(Serialize, Deserialize)]
pub(crate) struct Heard {
    /// Its figures, in milliseconds.
    pub(crate) millis: Vec<f64>,
    pub(crate) cpu_micros: f64,
}

/// Nobody waits longer than this for a line of the other process.
const PATIENCE: Duration = Duration::from_secs(60);

/// Killed when it is dropped.
pub(crate) struct Other {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Other {
    /// Starts this program as the other process, and waits until it listens.
    pub(crate) async fn start(messages: u64, arguments: &[&OsStr]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["peer", "--messages", &messages.to_string()]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let stdout = child.stdout.take().ok_or("the other process has no output")?;
        let mut other = Self { child, lines: BufReader::new(stdout).lines() };
        let _listens = other.line().await?;
        Ok(other)
    }

    /// What it says at last; it has ended then.
    pub(crate) async fn ends<T: DeserializeOwned>(mut self) -> Result<T> {
        let heard = serde_json::from_str(&self.line().await?)?;
        self.child.wait().await?;
        Ok(heard)
    }

    async fn line(&mut self) -> Result<String> {
        let line = timeout(PATIENCE, self.lines.next_line()).await??;
        line.ok_or_else(|| "the other process ended early".into())
    }
}

/// In the other process: it listens from now on.
pub(crate) fn listens() {
    table::line("listening");
}

/// In the other process: its last word.
pub(crate) fn heard(latencies: &Latencies, watch: &Stopwatch, messages: u64) -> Result<()> {
    let Run { values, cpu_micros } = latencies.run(watch, messages);
    table::line(&serde_json::to_string(&Heard { millis: values, cpu_micros })?);
    Ok(())
}
