//! Delayed messages become ready when their time comes.

use super::lane;
use super::routes::Queue;
use super::sql::tail;
use crate::error::failed;
use crate::writer::Work;
use rusqlite::{OptionalExtension, params};
use tramline_core::Result;
use tramline_core::clock::Timestamp;

/// How many at most: a claim is short even when very many are due at once. The rest is due at once
/// for the next one.
const PROMOTED_MAX: i64 = 1000;

/// Moves delayed messages whose time has come to the others that can be taken, or behind the one
/// that is out of their lane. Answers whether there were any: whoever leaves them there has to wake
/// others.
pub(crate) fn promote(work: &Work<'_>, queue: i64) -> Result<bool> {
    let now = work.now();
    let moved = match work.particular(queue) {
        Some(queue) => place_due(work, &queue, now),
        None => move_due(work, queue, now),
    };
    Ok(moved.map_err(|error| failed("make delayed messages ready", error))? > 0)
}

/// The same for a message that is to line up now: what was due before it stands before it, whether
/// or not anybody has claimed since.
pub(crate) fn promote_before(work: &Work<'_>, queue: &Queue) -> rusqlite::Result<()> {
    if place_due(work, queue, work.now())? > 0 {
        work.wake(queue.id);
    }
    Ok(())
}

/// When the next one is due.
pub(crate) fn next_due(work: &Work<'_>, queue: i64) -> rusqlite::Result<Option<Timestamp>> {
    work.connection
        .prepare_cached("SELECT min(due) FROM tramline_delayed WHERE queue = ?1")?
        .query_row([queue], |row| Ok(row.get::<_, Option<i64>>(0)?.map(Timestamp::from_micros)))
}

fn move_due(work: &Work<'_>, queue: i64, now: Timestamp) -> rusqlite::Result<usize> {
    const MOVE: &str = concat!(
        "INSERT INTO tramline_ready (queue, seq, ",
        tail!(),
        ") SELECT queue, seq, ",
        tail!(),
        " FROM tramline_delayed WHERE queue = ?1 AND (due, seq) <= (?2, ?3)"
    );
    let mut last_due = work.connection.prepare_cached(
        "SELECT due, seq FROM (
             SELECT due, seq FROM tramline_delayed WHERE queue = ?1 AND due <= ?2
             ORDER BY due, seq LIMIT ?3 + 0
         ) ORDER BY due DESC, seq DESC LIMIT 1",
    )?;
    let last: Option<(i64, i64)> = last_due
        .query_row([queue, now.as_micros(), PROMOTED_MAX], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((due, seq)) = last else { return Ok(0) };
    work.connection.prepare_cached(MOVE)?.execute([queue, due, seq])?;
    work.connection
        .prepare_cached("DELETE FROM tramline_delayed WHERE queue = ?1 AND (due, seq) <= (?2, ?3)")?
        .execute([queue, due, seq])
}

/// One by one: a retry comes back as the head of its lane, a scheduled message arrives only now.
fn place_due(work: &Work<'_>, queue: &Queue, now: Timestamp) -> rusqlite::Result<usize> {
    const READY: &str = concat!(
        "INSERT INTO tramline_ready (queue, seq, ",
        tail!(),
        ") SELECT queue, seq, ",
        tail!(),
        " FROM tramline_delayed WHERE queue = ?1 AND due = ?2 AND seq = ?3"
    );
    const BEHIND: &str = concat!(
        "INSERT INTO tramline_behind (queue, seq, lane, place, ",
        tail!(),
        ") SELECT queue, seq, ?4, ?5, ",
        tail!(),
        " FROM tramline_delayed WHERE queue = ?1 AND due = ?2 AND seq = ?3"
    );
    let due: Vec<(i64, i64, Option<String>)> = work
        .connection
        .prepare_cached(
            "SELECT due, seq, key FROM tramline_delayed WHERE queue = ?1 AND due <= ?2
             ORDER BY due, seq LIMIT ?3 + 0",
        )?
        .query_map([queue.id, now.as_micros(), PROMOTED_MAX], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    for (due, seq, key) in &due {
        let (id, lane) = (queue.id, queue.lane(key.as_deref()));
        match lane {
            Some(lane) if !lane::is_head_or_leads(work, id, lane, *seq)? => {
                let place = lane::last_place(work, id, lane)?;
                work.connection
                    .prepare_cached(BEHIND)?
                    .execute(params![id, due, seq, lane, place])?;
            }
            _ => {
                work.connection.prepare_cached(READY)?.execute([id, *due, *seq])?;
            }
        }
        work.connection
            .prepare_cached(
                "DELETE FROM tramline_delayed WHERE queue = ?1 AND due = ?2 AND seq = ?3",
            )?
            .execute([id, *due, *seq])?;
    }
    Ok(due.len())
}
