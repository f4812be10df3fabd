//! Where the files of a bench lie, and how fast the disk below is.

use crate::Result;
use std::fs::{self, File};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempDir;

/// A folder for one run, gone with it.
pub(crate) fn folder() -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("tramline-bench-").tempdir()?)
}

/// The file of the bus in a folder.
pub(crate) fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("bench.db")
}

/// The least that anything durable can take.
pub(crate) struct Floor {
    pub(crate) folder: PathBuf,
    pub(crate) file_system: String,
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
}

/// Overwrites and syncs 4 KiB, many times.
pub(crate) fn floor() -> Result<Floor> {
    const WRITES: usize = 300;
    let folder = folder()?;
    let mut file = File::create(folder.path().join("floor"))?;
    let page = [7; 4096];
    file.write_all(&page)?;
    file.sync_all()?;
    let mut micros = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let began = Instant::now();
        file.rewind()?;
        file.write_all(&page)?;
        file.sync_data()?;
        micros.push(began.elapsed().as_secs_f64() * 1e6);
    }
    micros.sort_by(f64::total_cmp);
    Ok(Floor {
        file_system: file_system(folder.path()),
        folder: std::env::temp_dir(),
        p50_micros: micros[WRITES / 2],
        p99_micros: micros[WRITES * 99 / 100],
    })
}

/// The type of the file system that holds `path`, where the system tells.
fn file_system(path: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let holding = mounts.filter(|(point, _)| path.starts_with(point));
    let nearest = holding.max_by_key(|(point, _)| point.len());
    nearest.map_or_else(|| "unknown file system".to_owned(), |(_, kind)| kind.to_owned())
}
