//! What a file counts about itself, so that figures outlive the processes that made them.

use crate::error::failed;
use crate::sqlite::Sqlite;
use crate::writer::Work;
use rusqlite::Connection;
use tramline_core::Result;

/// What happened on a file since it was made, whichever processes were at work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Deliveries that were taken back from processes that died or no longer moved.
    pub redelivered: u64,
    /// Messages that an inbox knew already.
    pub duplicates: u64,
}

/// A line of the tally, by its name in the table of counters.
#[derive(Clone, Copy)]
pub(crate) enum Line {
    Redelivered,
    Duplicates,
}

impl Line {
    fn name(self) -> &'static str {
        match self {
            Self::Redelivered => "redelivered",
            Self::Duplicates => "duplicates",
        }
    }
}

impl Sqlite {
    /// Reads the tally.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn tally(&self) -> Result<Tally> {
        let look = |connection: &Connection| {
            let count = |line: Line| -> rusqlite::Result<u64> {
                let sql = "SELECT value FROM tramline_counter WHERE name = ?1";
                let value: i64 = connection.query_row(sql, [line.name()], |row| row.get(0))?;
                Ok(value.unsigned_abs())
            };
            let redelivered = count(Line::Redelivered)?;
            Ok(Tally { redelivered, duplicates: count(Line::Duplicates)? })
        };
        self.core.look("read the tally", look).await
    }
}

impl Work<'_> {
    /// Counts in the transaction at hand.
    pub(crate) fn count(&self, line: Line, more: usize) -> Result<()> {
        if more == 0 {
            return Ok(());
        }
        self.connection
            .prepare_cached("UPDATE tramline_counter SET value = value + ?2 WHERE name = ?1")
            .and_then(|mut statement| statement.execute((line.name(), more as i64)))
            .map(|_| ())
            .map_err(|error| failed("count", error))
    }
}
