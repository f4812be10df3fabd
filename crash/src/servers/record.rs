//! What producers know to be accepted and what handlers have done, in files that outlive every
//! process of a scenario.

use crate::journal::{self, Journal};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const CONFIRMED: &str = "confirmed";

/// The files of one scenario.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    folder: PathBuf,
}

impl Record {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where one producer writes down what was confirmed.
    pub(crate) fn of_producer(&self, name: &str) -> io::Result<Journal> {
        self.journal(CONFIRMED, name)
    }

    /// Where one process writes down what an endpoint that has no store has handled.
    pub(crate) fn of_endpoint(&self, endpoint: &str, process: &str) -> io::Result<Journal> {
        self.journal(endpoint, process)
    }

    fn journal(&self, kind: &str, name: &str) -> io::Result<Journal> {
        let folder = self.folder.join(kind);
        fs::create_dir_all(&folder)?;
        Journal::open(&folder, name)
    }

    pub(crate) fn confirmed(&self) -> Result<BTreeSet<u64>, String> {
        let times = self.times(CONFIRMED)?;
        Ok(times.into_keys().collect())
    }

    /// How often `endpoint`, which has no store, has handled each message.
    pub(crate) fn handled(&self, endpoint: &str) -> Result<BTreeMap<u64, usize>, String> {
        self.times(endpoint)
    }

    /// How many bytes one process has written down that it has handled for an endpoint without a store.
    pub(crate) fn handled_by(&self, endpoint: &str, process: &str) -> io::Result<u64> {
        let path = journal::path(&self.folder.join(endpoint), process);
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            found => found.map(|file| file.len()),
        }
    }

    fn times(&self, kind: &str) -> Result<BTreeMap<u64, usize>, String> {
        let folder = self.folder.join(kind);
        if !folder.exists() {
            return Ok(BTreeMap::new());
        }
        journal::times(&folder).map_err(|error| format!("failed to read {kind}: {error}"))
    }
}
