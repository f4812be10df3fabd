//! Queues with an order: of each lane one message is out, the others stand behind it.
//!
//! A lane has a row as long as one of its messages is out. Nothing else is looked up to know
//! whether a message may be taken: what may not is in another table.

use super::sql::tail;
use crate::writer::Work;
use rusqlite::{OptionalExtension, params};

/// Makes `seq` the head of `lane`, if nothing is out of it. Answers whether it is now.
pub(crate) fn lead(work: &Work<'_>, queue: i64, lane: &str, seq: i64) -> rusqlite::Result<bool> {
    let first = work
        .connection
        .prepare_cached(
            "INSERT INTO tramline_lane (queue, lane, head) VALUES (?1, ?2, ?3)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![queue, lane, seq])?;
    Ok(first == 1)
}

/// Whether `seq` is what is out of `lane`, or becomes it because nothing is.
pub(crate) fn is_head_or_leads(
    work: &Work<'_>,
    queue: i64,
    lane: &str,
    seq: i64,
) -> rusqlite::Result<bool> {
    Ok(is_head(work, queue, lane, seq)? || lead(work, queue, lane, seq)?)
}

fn is_head(work: &Work<'_>, queue: i64, lane: &str, seq: i64) -> rusqlite::Result<bool> {
    work.connection
        .prepare_cached("SELECT 1 FROM tramline_lane WHERE queue = ?1 AND lane = ?2 AND head = ?3")?
        .query_row(params![queue, lane, seq], |_| Ok(()))
        .optional()
        .map(|head| head.is_some())
}

/// The place behind everything that waits in `lane`.
pub(crate) fn last_place(work: &Work<'_>, queue: i64, lane: &str) -> rusqlite::Result<i64> {
    work.connection
        .prepare_cached(
            "SELECT coalesce(max(place) + 1, 1) FROM tramline_behind
             WHERE queue = ?1 AND lane = ?2",
        )?
        .query_row(params![queue, lane], |row| row.get(0))
}

/// A message has left its queue: if it was what is out of its lane, whoever is next can be taken.
pub(super) fn left(work: &Work<'_>, queue: i64, lane: &str, seq: i64) -> rusqlite::Result<()> {
    if is_head(work, queue, lane, seq)? { next(work, queue, lane) } else { Ok(()) }
}

fn next(work: &Work<'_>, queue: i64, lane: &str) -> rusqlite::Result<()> {
    const READY: &str = concat!(
        "INSERT INTO tramline_ready (queue, seq, ",
        tail!(),
        ") SELECT queue, seq, ",
        tail!(),
        " FROM tramline_behind WHERE queue = ?1 AND lane = ?2 AND place = ?3"
    );
    let connection = work.connection;
    let next: Option<(i64, i64)> = connection
        .prepare_cached(
            "SELECT place, seq FROM tramline_behind WHERE queue = ?1 AND lane = ?2
             ORDER BY place LIMIT 1",
        )?
        .query_row(params![queue, lane], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((place, seq)) = next else {
        return connection
            .prepare_cached("DELETE FROM tramline_lane WHERE queue = ?1 AND lane = ?2")?
            .execute(params![queue, lane])
            .map(|_| ());
    };
    connection
        .prepare_cached("UPDATE tramline_lane SET head = ?3 WHERE queue = ?1 AND lane = ?2")?
        .execute(params![queue, lane, seq])?;
    connection.prepare_cached(READY)?.execute(params![queue, lane, place])?;
    connection
        .prepare_cached(
            "DELETE FROM tramline_behind WHERE queue = ?1 AND lane = ?2 AND place = ?3",
        )?
        .execute(params![queue, lane, place])?;
    work.wake(queue);
    Ok(())
}
