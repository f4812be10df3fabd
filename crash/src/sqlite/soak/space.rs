//! What takes room in the files when everything is handled.

use super::sample::secs;
use crate::sqlite::consumer::{FILE, INBOX_RETENTION};
use crate::sqlite::elsewhere::STORE_FILE;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;
use tramline::core::clock::{Clock, SystemClock, Timestamp};
use tramline::sqlite::rusqlite::{self, Connection};

/// Tables that are nearly empty, with all their indexes.
const EMPTY_BYTES: u64 = 1024 * 1024;
/// A row of the inbox with its two indexes, in pages that may be half full.
const INBOX_ROW_BYTES: u64 = 1024;
/// A dead letter with its body, its failures and its index.
const DEAD_ROW_BYTES: u64 = 4096;
/// What the bus keeps free for the next backlog: more is given back once it is half of the file.
const FREE_BYTES: u64 = 17 * 1024 * 1024;
/// How often inboxes forget, and how long that may take.
const FORGETS_WITHIN: Duration = Duration::from_secs(90);

/// The room in one file.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Space {
    pub(crate) file: &'static str,
    pub(crate) all_bytes: u64,
    /// Of the handlers' own table, which keeps everything.
    pub(crate) effect_bytes: u64,
    pub(crate) free_bytes: u64,
    pub(crate) inbox_rows: u64,
    pub(crate) dead_rows: u64,
    /// How old the oldest row of an inbox is.
    #[serde(serialize_with = "secs")]
    pub(crate) inbox_age: Duration,
}

/// Looks into the files, which nobody has open.
pub(crate) fn measure(folder: &Path) -> Result<Vec<Space>, String> {
    let of = |file| {
        let measured = Space::of(folder, file);
        measured.map_err(|error| format!("failed to measure {file}: {error}"))
    };
    [FILE, STORE_FILE].into_iter().map(of).collect()
}

impl Space {
    fn of(folder: &Path, file: &'static str) -> rusqlite::Result<Self> {
        let connection = Connection::open(folder.join(file))?;
        let ask = |sql: &str| -> rusqlite::Result<u64> {
            Ok(connection.query_row(sql, [], |row| row.get::<_, i64>(0))?.unsigned_abs())
        };
        let page_bytes = ask("PRAGMA page_size")?;
        let oldest: Option<i64> =
            connection.query_row("SELECT min(at) FROM tramline_inbox", [], |row| row.get(0))?;
        let oldest = oldest.map(Timestamp::from_micros);
        Ok(Self {
            file,
            all_bytes: ask("PRAGMA page_count")? * page_bytes,
            effect_bytes: ask("SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name = 'effect'")?,
            free_bytes: ask("PRAGMA freelist_count")? * page_bytes,
            inbox_rows: ask("SELECT count(*) FROM tramline_inbox")?,
            dead_rows: ask("SELECT count(*) FROM tramline_dead")?,
            inbox_age: oldest.map_or(Duration::ZERO, |oldest| SystemClock.now().since(oldest)),
        })
    }

    /// What the bus has in use.
    pub(crate) fn bus_bytes(&self) -> u64 {
        self.all_bytes - self.effect_bytes - self.free_bytes
    }

    /// What takes more room than what is there explains.
    pub(crate) fn faults(&self) -> Vec<String> {
        let Self { file, all_bytes, free_bytes, inbox_rows, dead_rows, inbox_age, .. } = self;
        let explained = EMPTY_BYTES + inbox_rows * INBOX_ROW_BYTES + dead_rows * DEAD_ROW_BYTES;
        let mut faults = Vec::new();
        if self.bus_bytes() > explained {
            faults.push(format!(
                "{file}: the bus takes {} bytes for {inbox_rows} rows of inboxes and {dead_rows} \
                 dead letters",
                self.bus_bytes(),
            ));
        }
        if *free_bytes > FREE_BYTES.max(all_bytes / 2) {
            faults.push(format!(
                "{file}: {free_bytes} bytes of {all_bytes} are free and not given back"
            ));
        }
        if *inbox_age > INBOX_RETENTION + FORGETS_WITHIN {
            faults.push(format!("{file}: an inbox still knows what is {inbox_age:?} old"));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn space(change: impl FnOnce(&mut Space)) -> String {
        let mut space = Space {
            file: "a.db",
            all_bytes: 120 * MIB,
            effect_bytes: 100 * MIB,
            free_bytes: 10 * MIB,
            inbox_rows: 10_000,
            dead_rows: 100,
            inbox_age: INBOX_RETENTION,
        };
        change(&mut space);
        space.faults().join("\n")
    }

    #[test]
    fn room_that_rows_explain_is_no_fault_and_all_other_is() {
        assert_eq!(space(|_| {}), "");
        let text = space(|space| space.inbox_rows = 1000);
        assert!(text.contains("the bus takes 10485760 bytes"), "{text}");
        let text = space(|space| (space.all_bytes, space.free_bytes) = (320 * MIB, 210 * MIB));
        assert!(text.contains("free and not given back"), "{text}");
        let text = space(|space| space.inbox_age = 2 * INBOX_RETENTION);
        assert!(text.contains("still knows what is 240s old"), "{text}");
    }
}
