//! From one process to another on the same file.

use super::ours::{listening, publish_paced, publisher};
use crate::Result;
use crate::folder::{file, folder};
use crate::hand::prepare;
use crate::latency::Latencies;
use crate::load::runtime;
use crate::other::{self, Heard, Other};
use crate::round::Run;
use crate::stopwatch::Stopwatch;
use std::path::Path;
use std::time::Duration;
use tramline::{Bus, Sqlite};

pub(super) fn end_to_end(messages: u64) -> Result<Run> {
    let folder = folder()?;
    let path = file(&folder);
    runtime()?.block_on(async {
        prepare(&path).await?;
        let other = Other::start(messages, &["--file".as_ref(), path.as_os_str()]).await?;
        let bus = publisher(&path).await?;
        let watch = Stopwatch::start();
        publish_paced(&bus, messages).await?;
        let heard: Heard = other.ends().await?;
        let mut run = watch.run(messages, heard.millis);
        run.cpu_micros += heard.cpu_micros;
        let _ = bus.drain(Duration::from_secs(10)).await?;
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
        other::listens();
        latencies.done.wait().await;
        other::heard(&latencies, &watch, messages)?;
        let _ = bus.drain(Duration::from_secs(10)).await?;
        Ok(())
    })
}
