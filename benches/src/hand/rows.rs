//! The statements.

use super::letter::{Letter, Taken};
use crate::message::OrderPlaced;
use bytes::Bytes;
use rusqlite::{Connection, Result};
use tramline::Message;
use tramline::core::clock::{Clock, SystemClock};

/// A message for one queue.
pub(super) fn insert(db: &Connection, queue: i64, letter: &Letter, flags: i64) -> Result<()> {
    db.prepare_cached("INSERT INTO tramline_body (refs, envelope, body) VALUES (1, ?1, ?2)")?
        .execute((&letter.envelope, &letter.body))?;
    let seq = db.last_insert_rowid();
    let now = SystemClock.now().as_micros();
    db.prepare_cached(
        "INSERT INTO tramline_ready
             (queue, rank, seq, since, flags, failures, deliveries, trials)
         VALUES (?1, 0, ?2, ?3, ?4, 0, 0, 0)",
    )?
    .execute((queue, seq, now, flags))?;
    Ok(())
}

/// Takes messages from the head of a queue.
pub(super) fn claim(db: &Connection, queue: i64, token: i64, limit: usize) -> Result<Vec<Taken>> {
    const PROCESS: i64 = 1;
    // A bare parameter as limit would have SQLite prepare the statement anew for each value.
    let taken = db
        .prepare_cached(
            "SELECT r.seq, b.envelope, b.body
             FROM tramline_ready r CROSS JOIN tramline_body b ON b.id = r.seq
             WHERE r.queue = ?1 AND r.rank = 0 ORDER BY r.seq LIMIT ?2 + 0",
        )?
        .query_map((queue, limit as i64), |row| {
            let body = Bytes::copy_from_slice(row.get_ref(2)?.as_bytes()?);
            Ok(Taken { token, seq: row.get(0)?, envelope: row.get(1)?, body })
        })?
        .collect::<Result<Vec<Taken>>>()?;
    let Some(last) = taken.last() else { return Ok(taken) };
    db.prepare_cached(
        "INSERT INTO tramline_leased (token, process, queue, seq, rank, since, flags, failures,
             deliveries, trials, unhandled_since, first_failed_at, expires_at, key, history)
         SELECT ?3, ?4, queue, seq, rank, since, flags, failures, deliveries + 1, trials,
             unhandled_since, first_failed_at, expires_at, key, history
         FROM tramline_ready WHERE queue = ?1 AND rank = 0 AND seq <= ?2",
    )?
    .execute((queue, last.seq, token, PROCESS))?;
    db.prepare_cached("DELETE FROM tramline_ready WHERE queue = ?1 AND rank = 0 AND seq <= ?2")?
        .execute((queue, last.seq))?;
    Ok(taken)
}

/// Acks a message. Answers whether it was still taken under `token`.
pub(super) fn ack(db: &Connection, token: i64, seq: i64) -> Result<bool> {
    let gone = db
        .prepare_cached("DELETE FROM tramline_leased WHERE token = ?1 AND seq = ?2")?
        .execute((token, seq))?;
    if gone == 1 {
        db.prepare_cached("DELETE FROM tramline_body WHERE id = ?1 AND refs = 1")?
            .execute([seq])?;
    }
    Ok(gone == 1)
}

/// Says that a message was seen.
pub(super) fn admit(db: &Connection, id: &str) -> Result<()> {
    let now = SystemClock.now().as_micros();
    db.prepare_cached(
        "INSERT INTO tramline_inbox (endpoint, message, key, message_id, body_hash, at)
         VALUES (?1, ?2, ?3, ?3, 0, ?4) ON CONFLICT DO NOTHING",
    )?
    .execute((super::QUEUE, OrderPlaced::NAME, id, now))?;
    Ok(())
}

/// The handler's own row.
pub(super) fn charge(db: &Connection, order: u64, cents: i64) -> Result<()> {
    db.prepare_cached(crate::store::INSERT)?.execute((order as i64, cents))?;
    Ok(())
}
