//! What has expired is not handed out: it goes to the dead letters of its queue.

use super::claim::Taken;
use crate::queue::leave;
use crate::queue::sql::{tail, tail_undelivered};
use crate::writer::Work;
use rusqlite::params;
use tramline_core::dead::Reason;
use tramline_core::envelope::Envelope;

/// A message whose time was over before it was taken.
pub(super) struct Expired {
    rank: i64,
    seq: i64,
    /// The message's name, for the groups of dead letters.
    name: String,
    key: Option<String>,
}

impl Expired {
    pub(super) fn new(rank: i64, taken: &Taken) -> Self {
        let envelope: Envelope = serde_json::from_str(&taken.envelope).unwrap_or_default();
        let name = envelope.name.as_deref().unwrap_or_default().to_owned();
        Self { rank, seq: taken.seq, name, key: None }
    }

    /// Moves it from the ready ones to the dead letters, uncharged.
    pub(super) fn bury(&mut self, work: &Work<'_>, queue: i64) -> rusqlite::Result<()> {
        const BURY: &str = concat!(
            "INSERT INTO tramline_dead (queue, seq, name, reason, failed_at, ",
            tail!(),
            ") SELECT queue, seq, ?4, ?5, ?6, ",
            tail_undelivered!(),
            " FROM tramline_ready WHERE queue = ?1 AND rank = ?2 AND seq = ?3"
        );
        const DELETE: &str =
            "DELETE FROM tramline_ready WHERE queue = ?1 AND rank = ?2 AND seq = ?3
             RETURNING key";
        let Self { rank, seq, name, .. } = &*self;
        let now = work.now().as_micros();
        let parameters = params![queue, rank, seq, name, Reason::Expired.as_str(), now];
        work.connection.prepare_cached(BURY)?.execute(parameters)?;
        self.key = work
            .connection
            .prepare_cached(DELETE)?
            .query_row([queue, *rank, *seq], |row| row.get(0))?;
        Ok(())
    }
}

/// The lanes of these go on, and whoever reads dead letters has something to read.
pub(super) fn left(work: &Work<'_>, queue: i64, expired: &[Expired]) -> rusqlite::Result<()> {
    if expired.is_empty() {
        return Ok(());
    }
    if let Some(queue) = work.particular(queue) {
        for Expired { seq, key, .. } in expired {
            leave::left(work, &queue, *seq, key.as_deref())?;
        }
    }
    work.wake(queue);
    Ok(())
}
