//! Rows are taken by relays.

use super::aside::{self, Aside};
use super::stored::Stored;
use crate::deliver::claim::CLAIM_BYTES_MAX;
use crate::error::failed;
use crate::writer::Work;
use rusqlite::Connection;
use std::collections::HashSet;
use std::time::Duration;
use tramline_core::Result;
use tramline_core::clock::Timestamp;
use tramline_core::rows::OUTBOX;
use tramline_core::store::OutboxToken;

/// What a claim brought.
pub(super) struct Claims {
    pub(super) rows: Vec<Claimed>,
    /// There may be more, although it brought little: it had others to set aside.
    pub(super) is_partial: bool,
}

/// A claimed row, or why its columns cannot be read.
pub(super) struct Claimed {
    pub(super) token: OutboxToken,
    pub(super) stored: rusqlite::Result<Stored>,
}

/// Walks the rows in order. A row that is at work or was tried holds back the others of its key; one
/// that only waits for its due time does not. What stands behind a parked row is set aside.
pub(super) fn claim(
    work: &Work<'_>,
    limit: u32,
    lease: Duration,
    now: Timestamp,
) -> Result<Claims> {
    let (token, process) = (work.token()?, work.process()?);
    let until = now.after(lease).as_micros();
    let claim = || -> rusqlite::Result<Claims> {
        let Walked { free, stuck } = walk(work, limit as usize, now)?;
        stuck.iter().try_for_each(|id| aside::set_aside(work, *id))?;
        let mut claims = Claims { rows: Vec::new(), is_partial: stuck.len() == STUCK_MAX };
        let mut bytes = 0;
        for id in free {
            let stored = take(work, id, token, until, process)?;
            bytes += stored.as_ref().map_or(0, Stored::bytes);
            claims.rows.push(Claimed { token: OutboxToken { row: id, lease: token }, stored });
            if bytes >= CLAIM_BYTES_MAX {
                break;
            }
        }
        Ok(claims)
    };
    claim().map_err(|error| failed("claim rows of the outbox", error))
}

/// Lets go of rows that were claimed by processes that have no row any more: their relays are gone.
pub(crate) fn take_back(work: &Work<'_>) -> rusqlite::Result<()> {
    let freed = work
        .connection
        .prepare_cached(
            "UPDATE tramline_outbox SET lease = 0, lease_until = 0, process = 0
             WHERE lease <> 0 AND process NOT IN (SELECT id FROM tramline_process)",
        )?
        .execute([])?;
    if freed > 0 {
        work.wake(OUTBOX);
    }
    Ok(())
}

/// How many rows one claim sets aside: it is short, however many there are.
const STUCK_MAX: usize = 1000;

/// All rows, in order.
const WALK: &str =
    "SELECT id, key, tried, hold_until, lease_until FROM tramline_outbox ORDER BY id";

/// When the first row can be claimed that waits for nothing but its time. What stands behind another
/// one of its key is not looked at: a relay would ask for it again and again.
pub(super) fn next_due(
    connection: &Connection,
    now: Timestamp,
) -> rusqlite::Result<Option<Timestamp>> {
    let mut aside = Aside::look(connection)?;
    let mut walk = connection.prepare_cached(WALK)?;
    let mut rows = walk.query([])?;
    let mut held_keys: HashSet<String> = HashSet::new();
    let mut earliest: Option<Timestamp> = None;
    while let Some(row) = rows.next()? {
        let (id, key): (i64, Option<String>) = (row.get(0)?, row.get(1)?);
        if let Some(key) = &key
            && (held_keys.contains(key) || aside.holds_back(key, id)?)
        {
            continue;
        }
        let (was_tried, hold_until, lease_until): (bool, i64, i64) =
            (row.get(2)?, row.get(3)?, row.get(4)?);
        let due = Timestamp::from_micros(hold_until.max(lease_until));
        earliest = Some(earliest.map_or(due, |earliest| earliest.min(due)));
        if due <= now {
            break;
        }
        if was_tried {
            held_keys.extend(key);
        }
    }
    Ok(earliest)
}

/// What a walk over the rows found.
struct Walked {
    /// Can be taken.
    free: Vec<i64>,
    /// Stand behind a parked row of their key.
    stuck: Vec<i64>,
}

fn walk(work: &Work<'_>, limit: usize, now: Timestamp) -> rusqlite::Result<Walked> {
    let mut aside = Aside::look(work.connection)?;
    let mut walk = work.connection.prepare_cached(WALK)?;
    let mut rows = walk.query([])?;
    let mut held_keys: HashSet<String> = HashSet::new();
    let mut walked = Walked { free: Vec::new(), stuck: Vec::new() };
    while walked.free.len() < limit
        && walked.stuck.len() < STUCK_MAX
        && let Some(row) = rows.next()?
    {
        let (id, key): (i64, Option<String>) = (row.get(0)?, row.get(1)?);
        let (was_tried, hold_until, lease_until): (bool, i64, i64) =
            (row.get(2)?, row.get(3)?, row.get(4)?);
        if key.as_ref().is_some_and(|key| held_keys.contains(key)) {
            continue;
        }
        let (is_held, is_at_work) = (hold_until > now.as_micros(), lease_until > now.as_micros());
        if is_at_work {
            held_keys.extend(key);
        } else if let Some(key) = &key
            && aside.holds_back(key, id)?
        {
            walked.stuck.push(id);
        } else if !is_held {
            walked.free.push(id);
        } else if was_tried {
            held_keys.extend(key);
        }
    }
    Ok(walked)
}

fn take(
    work: &Work<'_>,
    id: i64,
    token: i64,
    until: i64,
    process: i64,
) -> rusqlite::Result<rusqlite::Result<Stored>> {
    const TAKE: &str = "UPDATE tramline_outbox SET lease = ?2, lease_until = ?3, process = ?4,
             tried = 1
         WHERE id = ?1 RETURNING attempts, destination, envelope, body";
    work.connection
        .prepare_cached(TAKE)?
        .query_row([id, token, until, process], |row| Ok(Stored::read(row, 0)))
}
