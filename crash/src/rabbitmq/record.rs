//! What producers know to be accepted and what handlers have done, in files that outlive every
//! process of a scenario.

use super::judge::Evidence;
use super::service::{BOOKED, FILE, NOTED};
use crate::journal::{self, Journal};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tramline::sqlite::rusqlite::{self, Connection, OpenFlags};

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

    /// How often `endpoint` has handled each message.
    pub(crate) fn handled(&self, endpoint: &str) -> Result<BTreeMap<u64, usize>, String> {
        match endpoint {
            BOOKED | NOTED => self.stored(endpoint),
            _ => self.times(endpoint),
        }
    }

    /// How many bytes one process has written down that it has handled for an endpoint without a store.
    pub(crate) fn handled_by(&self, endpoint: &str, process: &str) -> io::Result<u64> {
        let path = journal::path(&self.folder.join(endpoint), process);
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            found => found.map(|file| file.len()),
        }
    }

    /// What was confirmed, and what `endpoints` have handled of it.
    pub(crate) fn evidence(&self, endpoints: &[&'static str]) -> Result<Evidence, String> {
        let mut evidence = Evidence { confirmed: self.confirmed()?, ..Evidence::default() };
        for endpoint in endpoints {
            evidence.handled.insert(endpoint, self.handled(endpoint)?);
        }
        Ok(evidence)
    }

    fn times(&self, kind: &str) -> Result<BTreeMap<u64, usize>, String> {
        let folder = self.folder.join(kind);
        if !folder.exists() {
            return Ok(BTreeMap::new());
        }
        journal::times(&folder).map_err(|error| format!("failed to read {kind}: {error}"))
    }

    fn stored(&self, endpoint: &str) -> Result<BTreeMap<u64, usize>, String> {
        let read = || -> rusqlite::Result<BTreeMap<u64, usize>> {
            const PATIENCE: Duration = Duration::from_secs(10);
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(self.folder.join(FILE), flags)?;
            connection.busy_timeout(PATIENCE)?;
            let sql = "SELECT number, count(*) FROM effect WHERE endpoint = ?1 GROUP BY number";
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([endpoint], |row| {
                let (number, times): (i64, i64) = (row.get(0)?, row.get(1)?);
                Ok((number.cast_unsigned(), times as usize))
            })?;
            rows.collect()
        };
        read().map_err(|error| format!("failed to read what {endpoint} has stored: {error}"))
    }
}
