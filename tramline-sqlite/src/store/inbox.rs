//! Which messages endpoints have handled.

use crate::error::failed;
use crate::writer::Work;
use rusqlite::{Connection, OptionalExtension, params};
use tramline_core::Result;
use tramline_core::clock::Timestamp;
use tramline_core::store::{Refusal, Sighting};

/// Remembers a message; refuses it if it is known.
pub(super) fn admit(work: &Work<'_>, sighting: &Sighting) -> Result<Option<Refusal>> {
    let Sighting { key, id, body_hash, .. } = sighting;
    let admit = || -> rusqlite::Result<Option<Refusal>> {
        let new = work
            .connection
            .prepare_cached(
                "INSERT INTO tramline_inbox (endpoint, message, key, message_id, body_hash, at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                &*key.endpoint,
                key.message,
                key.key,
                id.to_string(),
                body_hash,
                work.now().as_micros()
            ])?;
        if new == 1 { Ok(None) } else { look(work.connection, sighting) }
    };
    admit().map_err(|error| failed(format!("admit {}", key.describe()), error))
}

/// What is known about a message.
pub(super) fn look(
    connection: &Connection,
    sighting: &Sighting,
) -> rusqlite::Result<Option<Refusal>> {
    let key = &sighting.key;
    connection
        .prepare_cached(
            "SELECT message_id, body_hash FROM tramline_inbox
             WHERE endpoint = ?1 AND message = ?2 AND key = ?3",
        )?
        .query_row(params![&*key.endpoint, key.message, key.key], |row| {
            let is_same = sighting.is_same(row.get_ref(0)?.as_str()?, row.get(1)?);
            Ok(if is_same { Refusal::Duplicate } else { Refusal::KeyReused })
        })
        .optional()
}

/// Forgets the oldest rows of one endpoint, as far as they are older than `before`. An index brings
/// them in the order of time: rows of a clock that ran ahead stand behind the others.
pub(super) fn prune(work: &Work<'_>, endpoint: &str, before: Timestamp, limit: u32) -> Result<u64> {
    let prune = || -> rusqlite::Result<usize> {
        work.connection
            .prepare_cached(
                "DELETE FROM tramline_inbox WHERE id IN (
                     SELECT id FROM tramline_inbox WHERE endpoint = ?1 AND at < ?2
                     ORDER BY at LIMIT ?3 + 0
                 )",
            )?
            .execute(params![endpoint, before.as_micros(), limit])
    };
    let pruned = prune().map_err(|error| failed("prune the inbox", error))?;
    Ok(pruned as u64)
}
