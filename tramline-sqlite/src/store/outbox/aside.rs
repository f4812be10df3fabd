//! Rows that wait for an operator, and those of their keys.

use super::stored::Stored;
use crate::writer::Work;
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use tramline_core::rows::OUTBOX;
use tramline_core::store::ParkedRow;

/// What every row has, wherever it stands. A literal, for `concat!`.
macro_rules! row {
    () => {
        "key, hold_until, attempts, tried, error, destination, envelope, body"
    };
}

/// Tells which rows stand behind others that are aside.
pub(super) struct Aside<'w> {
    /// Nothing to ask if no key is aside, as ever in good times.
    before: Option<CachedStatement<'w>>,
}

impl<'w> Aside<'w> {
    pub(super) fn look(connection: &'w Connection) -> rusqlite::Result<Self> {
        const KEYED: &str = "SELECT 1 FROM tramline_outbox_aside WHERE key IS NOT NULL LIMIT 1";
        const BEFORE: &str =
            "SELECT 1 FROM tramline_outbox_aside WHERE key = ?1 AND id < ?2 LIMIT 1";
        let keyed = connection.prepare_cached(KEYED)?.query_row([], |_| Ok(())).optional()?;
        let before = keyed.map(|()| connection.prepare_cached(BEFORE)).transpose()?;
        Ok(Self { before })
    }

    pub(super) fn holds_back(&mut self, key: &str, id: i64) -> rusqlite::Result<bool> {
        let Some(before) = &mut self.before else { return Ok(false) };
        before.query_row(params![key, id], |_| Ok(())).optional().map(|found| found.is_some())
    }
}

/// A row that is not at work leaves the sight of claims.
pub(super) fn set_aside(work: &Work<'_>, id: i64) -> rusqlite::Result<()> {
    const MOVE: &str = concat!(
        "INSERT INTO tramline_outbox_aside (id, parked, ",
        row!(),
        ") SELECT id, 0, ",
        row!(),
        " FROM tramline_outbox WHERE id = ?1"
    );
    work.connection.prepare_cached(MOVE)?.execute([id])?;
    work.connection.prepare_cached("DELETE FROM tramline_outbox WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// A claimed row waits for an operator.
pub(super) fn park(work: &Work<'_>, id: i64, lease: i64, error: &str) -> rusqlite::Result<()> {
    const PARK: &str = "UPDATE tramline_outbox_aside SET parked = 1, attempts = attempts + 1,
             error = ?2 WHERE id = ?1";
    const IS_OURS: &str = "SELECT 1 FROM tramline_outbox WHERE id = ?1 AND lease = ?2";
    let is_ours =
        work.connection.prepare_cached(IS_OURS)?.query_row([id, lease], |_| Ok(())).optional()?;
    if is_ours.is_some() {
        set_aside(work, id)?;
        work.connection.prepare_cached(PARK)?.execute(params![id, error])?;
    }
    Ok(())
}

/// Everything that is aside can be claimed again, the parked rows as if they had never failed.
/// Answers how many were parked.
pub(super) fn release(work: &Work<'_>) -> rusqlite::Result<usize> {
    const RELEASE: &str = "UPDATE tramline_outbox_aside SET parked = 0, attempts = 0,
             hold_until = ?1 WHERE parked = 1";
    const ALL: &str = "id > 0";
    let now = work.now().as_micros();
    let released = work.connection.prepare_cached(RELEASE)?.execute([now])?;
    bring_back(work, ALL, params![])?;
    Ok(released)
}

/// Removes parked rows. What stood behind one of them, and behind no other, can be claimed again.
/// Answers how many there were.
pub(super) fn discard(work: &Work<'_>, ids: &[i64]) -> rusqlite::Result<usize> {
    const DISCARD: &str =
        "DELETE FROM tramline_outbox_aside WHERE id = ?1 AND parked = 1 RETURNING key";
    const FREED: &str = "key = ?1 AND id < (
             SELECT coalesce(min(id), 9223372036854775807) FROM tramline_outbox_aside
             WHERE key = ?1 AND parked = 1)";
    let mut discarded = 0;
    for id in ids {
        let key: Option<Option<String>> = work
            .connection
            .prepare_cached(DISCARD)?
            .query_row([id], |row| row.get(0))
            .optional()?;
        discarded += usize::from(key.is_some());
        if let Some(Some(key)) = key {
            bring_back(work, FREED, params![key])?;
        }
    }
    Ok(discarded)
}

/// Up to `limit` parked rows behind `after`.
pub(super) fn parked(
    connection: &Connection,
    after: i64,
    limit: u32,
) -> rusqlite::Result<Vec<ParkedRow>> {
    const PARKED: &str = "SELECT id, error, attempts, destination, envelope, body
         FROM tramline_outbox_aside WHERE parked = 1 AND id > ?1 ORDER BY id LIMIT ?2 + 0";
    let mut parked = connection.prepare_cached(PARKED)?;
    let rows = parked.query_map((after, limit), |row| {
        let stored = Stored::read(row, 2).ok();
        Ok(ParkedRow {
            row: row.get(0)?,
            outgoing: stored.and_then(|stored| stored.open().ok()),
            attempts: row.get(2)?,
            error: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
        })
    })?;
    rows.collect()
}

/// Rows come back into their places. In one transaction, however many they are: half of a key
/// would stand behind nothing, and nobody would look after it.
fn bring_back(
    work: &Work<'_>,
    which: &str,
    parameters: &[&dyn rusqlite::ToSql],
) -> rusqlite::Result<()> {
    const MOVE: &str = concat!(
        "INSERT INTO tramline_outbox (id, lease, lease_until, process, ",
        row!(),
        ") SELECT id, 0, 0, 0, ",
        row!(),
        " FROM tramline_outbox_aside WHERE "
    );
    let delete = format!("DELETE FROM tramline_outbox_aside WHERE {which}");
    work.connection.prepare_cached(&format!("{MOVE}{which}"))?.execute(parameters)?;
    if work.connection.prepare_cached(&delete)?.execute(parameters)? > 0 {
        work.wake(OUTBOX);
    }
    Ok(())
}
