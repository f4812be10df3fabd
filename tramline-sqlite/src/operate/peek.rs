//! Messages are looked at where they stand.

use super::look::ranks;
use crate::queue::sql::DIRECT;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, ToSql};
use std::sync::Arc;
use tramline_core::clock::Timestamp;
use tramline_core::dead::{DeathRecord, Reason};
use tramline_core::envelope::Envelope;
use tramline_core::operate::{Completed, Peeked};

/// What is looked at of each message, wherever it stands. Literals, for `concat!`.
macro_rules! ready {
    () => {
        "SELECT seq, flags, failures, history, first_failed_at, NULL AS due, NULL AS reason, \
         NULL AS failed_at FROM tramline_ready WHERE queue = ?1 "
    };
}
macro_rules! delayed {
    () => {
        "SELECT seq, flags, failures, history, first_failed_at, due, NULL AS reason, \
         NULL AS failed_at FROM tramline_delayed WHERE queue = ?1 "
    };
}
macro_rules! behind {
    () => {
        "SELECT seq, flags, failures, history, first_failed_at, NULL AS due, NULL AS reason, \
         NULL AS failed_at FROM tramline_behind WHERE queue = ?1 "
    };
}
macro_rules! leased {
    () => {
        "SELECT seq, flags, failures, history, first_failed_at, NULL AS due, reason, failed_at \
         FROM tramline_leased WHERE queue = ?1 "
    };
}
macro_rules! dead {
    () => {
        "SELECT seq, flags, failures, history, first_failed_at, NULL AS due, reason, failed_at \
         FROM tramline_dead WHERE queue = ?1 "
    };
}

/// Bodies are read of the chosen rows only.
macro_rules! with_bodies {
    ($rows:expr) => {
        concat!(
            "SELECT r.*, b.envelope, b.body FROM (",
            $rows,
            ") r CROSS JOIN tramline_body b \
                 ON b.id = r.seq "
        )
    };
}

/// Up to `limit` messages behind `after`, in the order of their places.
pub(super) fn page(
    connection: &Connection,
    queue: i64,
    dead: bool,
    after: Option<i64>,
    limit: u32,
) -> rusqlite::Result<Vec<Peeked>> {
    const READY: &str =
        with_bodies!(concat!(ready!(), "AND rank = ?4 AND seq > ?2 ORDER BY seq LIMIT ?3 + 0"));
    const DELAYED: &str =
        with_bodies!(concat!(delayed!(), "AND seq > ?2 ORDER BY seq LIMIT ?3 + 0"));
    const BEHIND: &str = with_bodies!(concat!(behind!(), "AND seq > ?2 ORDER BY seq LIMIT ?3 + 0"));
    const LEASED: &str = with_bodies!(concat!(
        leased!(),
        "AND (reason IS NOT NULL) = ?4 AND seq > ?2 ORDER BY seq LIMIT ?3 + 0"
    ));
    const DEAD: &str = with_bodies!(concat!(dead!(), "AND seq > ?2 ORDER BY seq LIMIT ?3 + 0"));
    let after = after.unwrap_or(i64::MIN);
    let mut page = Vec::new();
    let mut read = |sql: &str, parameters: &[&dyn ToSql]| -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(sql)?;
        for peeked in statement.query_map(parameters, peeked)? {
            page.push(peeked?);
        }
        Ok(())
    };
    read(LEASED, &[&queue, &after, &limit, &dead])?;
    if dead {
        read(DEAD, &[&queue, &after, &limit])?;
    } else {
        read(DELAYED, &[&queue, &after, &limit])?;
        read(BEHIND, &[&queue, &after, &limit])?;
        for rank in ranks(connection, queue)? {
            read(READY, &[&queue, &after, &limit, &rank])?;
        }
    }
    page.sort_by_key(|peeked: &Peeked| peeked.position);
    page.truncate(limit as usize);
    Ok(page)
}

/// The first message whose id is `wanted`.
pub(super) fn find(
    connection: &Connection,
    queue: i64,
    dead: bool,
    wanted: &str,
) -> rusqlite::Result<Option<Peeked>> {
    // What is no JSON has no id, and is no error of whoever looks for another message.
    const IS_WANTED: &str =
        "WHERE CASE WHEN json_valid(b.envelope) THEN b.envelope ->> 'id' END = ?2 LIMIT 1";
    const MAIN: &str = with_bodies!(concat!(
        ready!(),
        "UNION ALL ",
        delayed!(),
        "UNION ALL ",
        behind!(),
        "UNION ALL ",
        leased!(),
        "AND reason IS NULL"
    ));
    const DEAD: &str =
        with_bodies!(concat!(dead!(), "UNION ALL ", leased!(), "AND reason IS NOT NULL"));
    let rows = if dead { DEAD } else { MAIN };
    connection
        .prepare_cached(&format!("{rows}{IS_WANTED}"))?
        .query_row((queue, wanted), peeked)
        .optional()
}

/// Up to `limit` dead letters behind `after` that nobody has taken.
pub(super) fn dead_letters(
    connection: &Connection,
    queue: i64,
    after: i64,
    limit: u32,
) -> rusqlite::Result<Vec<Peeked>> {
    const DEAD: &str = with_bodies!(concat!(dead!(), "AND seq > ?2 ORDER BY seq LIMIT ?3 + 0"));
    let mut dead = connection.prepare_cached(DEAD)?;
    let rows = dead.query_map((queue, after, limit), peeked)?;
    rows.collect()
}

/// Up to `limit` messages behind `after` that were handled after `since`, in the order in which
/// they were. Those before wait to be forgotten.
pub(super) fn completed(
    connection: &Connection,
    queue: i64,
    since: Option<Timestamp>,
    after: Option<i64>,
    limit: u32,
) -> rusqlite::Result<Vec<Completed>> {
    const COMPLETED: &str = "SELECT c.place, c.flags, c.failures, c.at, b.envelope, b.body
         FROM tramline_completed c CROSS JOIN tramline_body b ON b.id = c.seq
         WHERE c.queue = ?1 AND c.place > ?2 AND c.at > ?3 ORDER BY c.place LIMIT ?4 + 0";
    let mut completed = connection.prepare_cached(COMPLETED)?;
    let since = since.map_or(i64::MIN, Timestamp::as_micros);
    let rows = completed.query_map((queue, after.unwrap_or(i64::MIN), since, limit), |row| {
        Ok(Completed {
            position: row.get(0)?,
            envelope: Arc::new(envelope(row, 4, row.get::<_, i64>(1)? & DIRECT != 0)?),
            failures: row.get(2)?,
            at: Timestamp::from_micros(row.get(3)?),
        })
    })?;
    rows.collect()
}

/// The message in two columns from `first` on. What cannot be read is shown without what cannot be
/// read.
fn envelope(row: &Row<'_>, first: usize, is_direct: bool) -> rusqlite::Result<Envelope> {
    let text = row.get_ref(first)?.as_str().ok();
    let mut envelope: Envelope =
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    envelope.body = Bytes::copy_from_slice(row.get_ref(first + 1)?.as_bytes().unwrap_or_default());
    if is_direct {
        envelope.via = None;
    }
    Ok(envelope)
}

fn peeked(row: &Row<'_>) -> rusqlite::Result<Peeked> {
    let moment = |index| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row.get::<_, Option<i64>>(index)?.map(Timestamp::from_micros))
    };
    let reason: Option<String> = row.get(6)?;
    let is_direct = reason.is_some() || row.get::<_, i64>(1)? & DIRECT != 0;
    let envelope = envelope(row, 8, is_direct)?;
    let failures = row.get(2)?;
    let history = row.get_ref(3)?.as_str().ok();
    let history = history.and_then(|text| serde_json::from_str(text).ok());
    let death = match (reason, moment(7)?) {
        (Some(reason), Some(failed_at)) => Some(DeathRecord {
            reason: Reason::from(reason),
            failures,
            history: history.unwrap_or_default(),
            first_failed_at: moment(4)?,
            failed_at,
        }),
        _ => None,
    };
    Ok(Peeked {
        position: row.get(0)?,
        envelope: Arc::new(envelope),
        failures,
        due: moment(5)?,
        death,
    })
}
