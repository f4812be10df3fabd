//! Queues that hold so many messages and no more: a counter says how many there are.

use super::routes::Queue;
use crate::writer::Work;

/// So many messages came into the queue.
pub(crate) fn grow(work: &Work<'_>, queue: &Queue, by: usize) -> rusqlite::Result<()> {
    change(work, queue, by as i64)
}

/// So many messages have left the queue.
pub(crate) fn shrink(work: &Work<'_>, queue: &Queue, by: usize) -> rusqlite::Result<()> {
    change(work, queue, -(by as i64))
}

/// Whether there is no room for another message.
pub(super) fn is_full(work: &Work<'_>, queue: &Queue) -> rusqlite::Result<bool> {
    let Some(length_max) = queue.spec.length_max else { return Ok(false) };
    let length: i64 = work
        .connection
        .prepare_cached("SELECT count FROM tramline_length WHERE queue = ?1")?
        .query_row([queue.id], |row| row.get(0))?;
    Ok(length.unsigned_abs() >= length_max)
}

fn change(work: &Work<'_>, queue: &Queue, by: i64) -> rusqlite::Result<()> {
    if queue.spec.length_max.is_none() || by == 0 {
        return Ok(());
    }
    work.connection
        .prepare_cached("UPDATE tramline_length SET count = count + ?2 WHERE queue = ?1")?
        .execute([queue.id, by])
        .map(|_| ())
}
