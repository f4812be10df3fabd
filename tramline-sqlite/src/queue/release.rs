//! A queue no longer has a message: the last one takes the body along.

use crate::writer::Work;

/// One queue less has the body `seq`.
pub(crate) fn release(work: &Work<'_>, seq: i64) -> rusqlite::Result<()> {
    let gone = work
        .connection
        .prepare_cached("DELETE FROM tramline_body WHERE id = ?1 AND refs = 1")?
        .execute([seq])?;
    if gone == 0 {
        work.connection
            .prepare_cached("UPDATE tramline_body SET refs = refs - 1 WHERE id = ?1")?
            .execute([seq])?;
    }
    Ok(())
}
