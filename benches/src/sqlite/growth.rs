//! Whether a large backlog costs more than its disk.

use super::ours::handle_all;
use crate::folder::{file, folder};
use crate::hand::{fill, prepare};
use crate::load::runtime;
use crate::round::{Case, Figure, Measured, Run, Series};
use crate::stopwatch::Stopwatch;
use crate::{Result, cpu};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tramline::Sqlite;

const SMALL: u64 = 50_000;
const CONCURRENCY: usize = 100;

pub(crate) const FIGURES: &[Figure] = &[
    Figure { name: "consume rate, beside a backlog of 50,000", unit: "msg/s" },
    Figure { name: "most memory while it was consumed", unit: "MB" },
    Figure { name: "file when it was full", unit: "MB" },
    Figure { name: "file when it was empty", unit: "MB" },
];

/// Consumes a backlog to its end. The same backlog size is not measured twice: it takes minutes.
pub(crate) fn measure(messages: u64) -> Result<(Case, Measured)> {
    let small = consume(SMALL)?;
    let large = consume(messages)?;
    let case = Case {
        name: format!("growth, backlog of {messages}"),
        figures: FIGURES,
        amount: crate::round::Amount::Fixed(messages),
        ours: Box::new(consume),
        twin: None,
    };
    Ok((case, Measured { ours: Series::of(large), twin: Some(Series::of(small)) }))
}

fn consume(messages: u64) -> Result<Run> {
    let folder = folder()?;
    let path = file(&folder);
    runtime()?.block_on(async {
        prepare(&path).await?;
        fill(&path, messages, 0)?;
        let full = megabytes(&path)?;
        let sqlite = Sqlite::open(&path).await?;
        cpu::forget_most_memory();
        let watch = Stopwatch::start();
        handle_all(sqlite.clone(), messages, CONCURRENCY).await?;
        let rate = watch.rate(messages);
        let memory = cpu::most_memory_megabytes();
        let empty = smallest(&path).await?;
        drop(sqlite);
        Ok(Run { values: vec![rate.values[0], memory, full, empty], ..rate })
    })
}

/// The size of the file when it does not shrink any more.
async fn smallest(path: &Path) -> Result<f64> {
    const STILL: Duration = Duration::from_secs(10);
    const LONGEST: Duration = Duration::from_secs(120);
    let began = Instant::now();
    let mut size = megabytes(path)?;
    let mut since = Instant::now();
    while since.elapsed() < STILL && began.elapsed() < LONGEST {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = megabytes(path)?;
        if now < size {
            (size, since) = (now, Instant::now());
        }
    }
    Ok(size)
}

fn megabytes(path: &Path) -> Result<f64> {
    Ok(fs::metadata(path)?.len() as f64 / 1e6)
}
