//! From one process to another on the same file: this program starts itself.

use super::ours::{listening, publish_paced, publisher};
use crate::folder::{file, folder};
use crate::hand::prepare;
use crate::latency::Latencies;
use crate::load::runtime;
use crate::round::Run;
use crate::stopwatch::Stopwatch;
use crate::{Result, table};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;
use tramline::{Bus, Sqlite};

/// What the other process has to say at last.
#[derive(Serialize, Deserialize)]
struct Heard {
    millis: Vec<f64>,
    cpu_micros: f64,
}

/// Nobody waits longer than this for a line of the other process.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn end_to_end(messages: u64) -> Result<Run> {
    let folder = folder()?;
    let path = file(&folder);
    runtime()?.block_on(async {
        prepare(&path).await?;
        let mut other = Command::new(std::env::current_exe()?)
            .args(["peer", "--messages", &messages.to_string(), "--file"])
            .arg(&path)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = other.stdout.take().ok_or("the other process has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let mut line = async || -> Result<String> {
            let line = timeout(PATIENCE, lines.next_line()).await??;
            line.ok_or_else(|| "the other process ended early".into())
        };
        let _listens = line().await?;
        let bus = publisher(&path).await?;
        let watch = Stopwatch::start();
        publish_paced(&bus, messages).await?;
        let heard: Heard = serde_json::from_str(&line().await?)?;
        let mut run = watch.run(messages, heard.millis);
        run.cpu_micros += heard.cpu_micros;
        let _ = bus.drain(Duration::from_secs(10)).await?;
        other.wait().await?;
        Ok(run)
    })
}

/// The other process: says when it listens, and at last what it has heard.
pub(crate) fn listen(path: &Path, messages: u64) -> Result<()> {
    runtime()?.block_on(async {
        let latencies = Latencies::of(messages);
        let sqlite = Sqlite::open(path).await?;
        let bus = Bus::builder(sqlite).endpoint(listening(&latencies)).start().await?;
        let watch = Stopwatch::start();
        table::line("listening");
        latencies.done.wait().await;
        let run = latencies.run(&watch, messages);
        let heard = Heard { millis: run.values, cpu_micros: run.cpu_micros };
        table::line(&serde_json::to_string(&heard)?);
        let _ = bus.drain(Duration::from_secs(10)).await?;
        Ok(())
    })
}
