//! Queues that have one message of a key at a time: who is there holds its key.
//!
//! A key may have more than one holder: copies and redrives come in whoever holds it. So each is written down by
//! itself, and the key is free when the last one has left.

use super::routes::Queue;
use crate::writer::Work;
use rusqlite::params;

/// Whether somebody holds the key.
pub(super) fn is_held(work: &Work<'_>, queue: &Queue, key: Option<&str>) -> rusqlite::Result<bool> {
    let Some(key) = held_by(queue, key) else { return Ok(false) };
    work.connection
        .prepare_cached("SELECT 1 FROM tramline_unique WHERE queue = ?1 AND key = ?2")?
        .exists(params![queue.id, key])
}

/// A message came into the queue.
pub(crate) fn hold(
    work: &Work<'_>,
    queue: &Queue,
    seq: i64,
    key: Option<&str>,
) -> rusqlite::Result<()> {
    const HOLD: &str = "INSERT INTO tramline_unique (queue, key, seq) VALUES (?1, ?2, ?3)";
    change(work, queue, seq, key, HOLD)
}

/// A message has left the queue.
pub(crate) fn free(
    work: &Work<'_>,
    queue: &Queue,
    seq: i64,
    key: Option<&str>,
) -> rusqlite::Result<()> {
    const FREE: &str = "DELETE FROM tramline_unique WHERE queue = ?1 AND key = ?2 AND seq = ?3";
    change(work, queue, seq, key, FREE)
}

fn change(
    work: &Work<'_>,
    queue: &Queue,
    seq: i64,
    key: Option<&str>,
    sql: &str,
) -> rusqlite::Result<()> {
    let Some(key) = held_by(queue, key) else { return Ok(()) };
    work.connection.prepare_cached(sql)?.execute(params![queue.id, key, seq]).map(|_| ())
}

fn held_by<'k>(queue: &Queue, key: Option<&'k str>) -> Option<&'k str> {
    key.filter(|_| queue.spec.unique)
}
