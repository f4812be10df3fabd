//! What queues keep for a while only: handled messages, dead letters, what they have seen. It goes a
//! little at a time, beside the work.

use super::release::release;
use super::routes::{Queue, Routes};
use crate::error::failed;
use crate::writer::Work;
use rusqlite::{CachedStatement, Connection, params};
use std::time::Duration;
use tramline_core::Result;
use tramline_core::clock::Timestamp;

/// How many rows go in one transaction.
pub(crate) const STEP: usize = 1000;

/// One kind of row that a queue keeps for a while. All are found by an index, the oldest first.
struct Kept {
    /// Those of queue `?1` that are older than `?2`, at most `?3`: body and name.
    select: &'static str,
    /// The row by its queue and name.
    delete: &'static str,
    has_body: bool,
}

const COMPLETED: Kept = Kept {
    select: "SELECT seq, place FROM tramline_completed WHERE queue = ?1 AND place < ?2
         ORDER BY place LIMIT ?3 + 0",
    delete: "DELETE FROM tramline_completed WHERE queue = ?1 AND place = ?2",
    has_body: true,
};
const DEAD: Kept = Kept {
    select: "SELECT seq, seq FROM tramline_dead WHERE queue = ?1 AND failed_at < ?2
         ORDER BY failed_at LIMIT ?3 + 0",
    delete: "DELETE FROM tramline_dead WHERE queue = ?1 AND seq = ?2",
    has_body: true,
};
const SEEN: Kept = Kept {
    select: "SELECT 0, key FROM tramline_seen WHERE queue = ?1 AND at < ?2
         ORDER BY at LIMIT ?3 + 0",
    delete: "DELETE FROM tramline_seen WHERE queue = ?1 AND key = ?2",
    has_body: false,
};

/// Whether anything has been kept for long enough.
pub(crate) fn is_due(
    connection: &Connection,
    routes: &Routes,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    for (queue, kept, time) in everything(routes) {
        if kept.select(connection)?.exists(params![queue.id, now.before(time).as_micros(), 1])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes up to [`STEP`] rows. Answers how many.
pub(crate) fn step(work: &Work<'_>) -> Result<usize> {
    let step = || -> rusqlite::Result<usize> {
        let mut gone = 0;
        for (queue, kept, time) in everything(&work.routes()) {
            let before = work.now().before(time);
            gone += kept.forget(work, queue.id, before, STEP - gone)?;
        }
        Ok(gone)
    };
    step().map_err(|error| failed("forget what was kept for long enough", error))
}

fn everything(routes: &Routes) -> impl Iterator<Item = (&Queue, Kept, Duration)> {
    routes.forgetful.iter().flat_map(|queue| {
        let spec = &queue.spec;
        let kept =
            [(COMPLETED, spec.keep_completed), (DEAD, spec.keep_dead), (SEEN, spec.dedup_window)];
        kept.into_iter().filter_map(|(kept, time)| Some((&**queue, kept, time?)))
    })
}

impl Kept {
    fn select<'c>(&self, connection: &'c Connection) -> rusqlite::Result<CachedStatement<'c>> {
        connection.prepare_cached(self.select)
    }

    fn forget(
        &self,
        work: &Work<'_>,
        queue: i64,
        before: Timestamp,
        limit: usize,
    ) -> rusqlite::Result<usize> {
        let old: Vec<(i64, rusqlite::types::Value)> = self
            .select(work.connection)?
            .query_map(params![queue, before.as_micros(), limit as i64], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        let mut delete = work.connection.prepare_cached(self.delete)?;
        for (seq, name) in &old {
            delete.execute(params![queue, name])?;
            if self.has_body {
                release(work, *seq)?;
            }
        }
        Ok(old.len())
    }
}
