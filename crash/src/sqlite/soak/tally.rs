//! Counts effects as they come.

use crate::sqlite::consumer::{FILE, LEDGER, PLAIN};
use crate::sqlite::evidence::look_into;
use crate::sqlite::message::Fate;
use std::collections::BTreeSet;
use std::path::Path;
use tramline::sqlite::rusqlite::{self, Connection};

/// Reads each effect once.
pub(crate) struct Tally {
    file: Connection,
    /// The id of the effect that was read last.
    last: i64,
    plain: BTreeSet<i64>,
    pub(crate) handled: u64,
    pub(crate) again: u64,
    /// In microseconds, of what was read since they were taken away last.
    pub(crate) late: Vec<u64>,
}

impl Tally {
    pub(crate) fn new(folder: &Path) -> rusqlite::Result<Self> {
        let file = look_into(&folder.join(FILE))?;
        let plain = BTreeSet::new();
        Ok(Self { file, last: 0, plain, handled: 0, again: 0, late: Vec::new() })
    }

    pub(crate) fn read(&mut self) -> rusqlite::Result<()> {
        let sql = "SELECT id, endpoint, number, late FROM effect WHERE id > ?1 ORDER BY id";
        let mut statement = self.file.prepare_cached(sql)?;
        let mut rows = statement.query([self.last])?;
        while let Some(row) = rows.next()? {
            self.last = row.get(0)?;
            self.handled += 1;
            let endpoint = row.get_ref(1)?.as_str()?;
            let number: i64 = row.get(2)?;
            if endpoint == PLAIN && !self.plain.insert(number) {
                self.again += 1;
            }
            let fails = Fate::of(number.cast_unsigned()) != Fate::Handled;
            if !fails && (endpoint == PLAIN || endpoint == LEDGER) {
                // A clock that was set back makes it early.
                self.late.push(row.get::<_, i64>(3)?.max(0).unsigned_abs());
            }
        }
        Ok(())
    }
}
