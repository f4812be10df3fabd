//! A message leaves its queue.

use super::routes::Queue;
use super::{lane, length, unique};
use crate::writer::Work;

/// A message is no longer in its queue: it was handled, has died or was removed. There is room, and
/// whoever is next in its lane can be taken.
pub(crate) fn left(
    work: &Work<'_>,
    queue: &Queue,
    seq: i64,
    key: Option<&str>,
) -> rusqlite::Result<()> {
    length::shrink(work, queue, 1)?;
    unique::free(work, queue, seq, key)?;
    match queue.lane(key) {
        Some(lane) => lane::left(work, queue.id, lane, seq),
        None => Ok(()),
    }
}
