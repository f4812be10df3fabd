//! Everything that can be taken now is removed.

use crate::deliver::claim::promote;
use crate::error::failed;
use crate::queue::release::release;
use crate::writer::Work;
use rusqlite::Connection;
use tramline_core::Result;

/// How many messages go in one transaction.
pub(super) const STEP: usize = 1000;

/// The last place that a queue has now: what comes later is not meant.
pub(super) fn last(connection: &Connection, queue: i64, dead: bool) -> rusqlite::Result<i64> {
    let sql = match dead {
        true => "SELECT coalesce(max(seq), 0) FROM tramline_dead WHERE queue = ?1",
        false => "SELECT coalesce(max(id), 0) FROM tramline_body WHERE ?1 = ?1",
    };
    connection.prepare_cached(sql)?.query_row([queue], |row| row.get(0))
}

/// Removes up to [`STEP`] messages that stand at `last` or before. Answers how many.
pub(super) fn step(work: &Work<'_>, queue: i64, dead: bool, last: i64) -> Result<usize> {
    const READY: [&str; 2] = [
        "SELECT rank, seq FROM tramline_ready WHERE queue = ?1 AND seq <= ?2
         ORDER BY rank, seq LIMIT ?3",
        "DELETE FROM tramline_ready WHERE queue = ?1 AND rank = ?2 AND seq = ?3",
    ];
    const DEAD: [&str; 2] = [
        "SELECT 0, seq FROM tramline_dead WHERE queue = ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3",
        "DELETE FROM tramline_dead WHERE queue = ?1 AND ?2 = 0 AND seq = ?3",
    ];
    if !dead {
        promote(work, queue)?;
    }
    let [select, delete] = if dead { DEAD } else { READY };
    let purge = || -> rusqlite::Result<usize> {
        let gone: Vec<(i64, i64)> = work
            .connection
            .prepare_cached(select)?
            .query_map([queue, last, STEP as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        for (rank, seq) in &gone {
            work.connection.prepare_cached(delete)?.execute([queue, *rank, *seq])?;
            release(work, *seq)?;
        }
        Ok(gone.len())
    };
    purge().map_err(|error| failed("purge a queue", error))
}
