//! Everything that can be taken now is removed.

use crate::error::failed;
use crate::queue::promote::promote;
use crate::queue::release::release;
use crate::queue::{leave, length, unique};
use crate::writer::Work;
use rusqlite::{Connection, params};
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
    let gone = match dead {
        true => dead_letters(work, queue, last),
        false => {
            if promote(work, queue)? {
                // Those behind `last` stay.
                work.wake(queue);
            }
            // What waits behind others goes first: it must not become ready by their going.
            behind(work, queue, last).and_then(|gone| match gone {
                0 => ready(work, queue, last),
                gone => Ok(gone),
            })
        }
    };
    gone.map_err(|error| failed("purge a queue", error))
}

fn dead_letters(work: &Work<'_>, queue: i64, last: i64) -> rusqlite::Result<usize> {
    const SELECT: &str = "SELECT seq FROM tramline_dead WHERE queue = ?1 AND seq <= ?2
         ORDER BY seq LIMIT ?3 + 0";
    const DELETE: &str = "DELETE FROM tramline_dead WHERE queue = ?1 AND seq = ?2";
    let gone: Vec<i64> = work
        .connection
        .prepare_cached(SELECT)?
        .query_map([queue, last, STEP as i64], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for seq in &gone {
        work.connection.prepare_cached(DELETE)?.execute([queue, *seq])?;
        release(work, *seq)?;
    }
    Ok(gone.len())
}

fn behind(work: &Work<'_>, queue: i64, last: i64) -> rusqlite::Result<usize> {
    const SELECT: &str = "SELECT lane, place, seq, key FROM tramline_behind
         WHERE queue = ?1 AND seq <= ?2 LIMIT ?3 + 0";
    const DELETE: &str =
        "DELETE FROM tramline_behind WHERE queue = ?1 AND lane = ?2 AND place = ?3";
    let gone: Vec<(String, i64, i64, Option<String>)> = work
        .connection
        .prepare_cached(SELECT)?
        .query_map([queue, last, STEP as i64], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    for (lane, place, seq, _) in &gone {
        work.connection.prepare_cached(DELETE)?.execute(params![queue, lane, place])?;
        release(work, *seq)?;
    }
    if let Some(queue) = work.particular(queue) {
        length::shrink(work, &queue, gone.len())?;
        for (.., seq, key) in &gone {
            unique::free(work, &queue, *seq, key.as_deref())?;
        }
    }
    Ok(gone.len())
}

fn ready(work: &Work<'_>, queue: i64, last: i64) -> rusqlite::Result<usize> {
    const SELECT: &str = "SELECT rank, seq, key FROM tramline_ready
         WHERE queue = ?1 AND seq <= ?2 ORDER BY rank, seq LIMIT ?3 + 0";
    const DELETE: &str = "DELETE FROM tramline_ready WHERE queue = ?1 AND rank = ?2 AND seq = ?3";
    let gone: Vec<(i64, i64, Option<String>)> = work
        .connection
        .prepare_cached(SELECT)?
        .query_map([queue, last, STEP as i64], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let particular = work.particular(queue);
    for (rank, seq, key) in &gone {
        work.connection.prepare_cached(DELETE)?.execute([queue, *rank, *seq])?;
        release(work, *seq)?;
        if let Some(queue) = &particular {
            leave::left(work, queue, *seq, key.as_deref())?;
        }
    }
    Ok(gone.len())
}
