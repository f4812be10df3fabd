//! Handled messages that their queue keeps to be looked at.

use super::settle::Place;
use crate::writer::Work;

/// Notes a taken message as handled now. It keeps its body.
pub(super) fn keep(work: &Work<'_>, place: Place) -> rusqlite::Result<()> {
    const KEEP: &str = "INSERT INTO tramline_completed (queue, place, seq, at, flags, failures)
         SELECT queue, max(?3, (
             SELECT coalesce(max(place) + 1, 0) FROM tramline_completed WHERE queue = ?4
         )), seq, ?3, flags, failures FROM tramline_leased WHERE token = ?1 AND seq = ?2";
    let now = work.now().as_micros();
    let parameters = [place.token, place.seq, now, place.queue];
    work.connection.prepare_cached(KEEP)?.execute(parameters).map(|_| ())
}
