//! What there is to do, as it stands in the file.

use crate::deliver::claim::CLAIM_BYTES_MAX;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use std::sync::Arc;
use tramline_core::clock::Timestamp;
use tramline_core::rows::{read_destination, read_envelope};
use tramline_core::store::{DueSchedule, Look, RecurringRow, ScheduleKey, Waiting};
use tramline_core::transport::Outgoing;

pub(super) fn look(connection: &Connection, limit: u32, now: Timestamp) -> Result<Look> {
    const NEXT: &str =
        "SELECT at FROM tramline_schedule WHERE state = 0 AND at > ?1 ORDER BY at LIMIT 1";
    let next: Option<i64> = connection
        .prepare_cached(NEXT)?
        .query_row([now.as_micros()], |row| row.get(0))
        .optional()?;
    Ok(Look {
        due: due(connection, limit, now)?,
        next: next.map(Timestamp::from_micros),
        recurring: recurring(connection)?,
    })
}

fn due(connection: &Connection, limit: u32, now: Timestamp) -> Result<Vec<DueSchedule>> {
    const DUE: &str = "SELECT name, token, due, destination, envelope, body
         FROM tramline_schedule WHERE state = 0 AND at <= ?1 ORDER BY at LIMIT ?2";
    let mut statement = connection.prepare_cached(DUE)?;
    let mut rows = statement.query(params![now.as_micros(), limit])?;
    let (mut due, mut bytes) = (Vec::new(), 0);
    while bytes < CLAIM_BYTES_MAX
        && let Some(row) = rows.next()?
    {
        bytes += row.get_ref(5)?.as_bytes().map_or(0, <[u8]>::len);
        due.push(DueSchedule {
            key: ScheduleKey { name: row.get(0)?, token: row.get(1)? },
            due: Timestamp::from_micros(row.get(2)?),
            outgoing: outgoing(row),
        });
    }
    Ok(due)
}

fn outgoing(row: &Row<'_>) -> tramline_core::Result<Outgoing> {
    let read = || -> Result<(String, String, Bytes)> {
        let body = Bytes::copy_from_slice(row.get_ref(5)?.as_bytes()?);
        Ok((row.get(3)?, row.get(4)?, body))
    };
    let read = read().map_err(|error| crate::error::corrupt("read a schedule", error.to_string()));
    let (destination, envelope, body) = read?;
    let envelope = Arc::new(read_envelope(&envelope, body)?);
    Ok(Outgoing { to: read_destination(&destination)?, envelope, due: None, copy: None })
}

fn recurring(connection: &Connection) -> Result<Vec<RecurringRow>> {
    const ALL: &str =
        "SELECT name, token, rhythm, due, paused FROM tramline_recurring ORDER BY name";
    let mut statement = connection.prepare_cached(ALL)?;
    let rows = statement.query_map([], |row| {
        Ok(RecurringRow {
            name: row.get(0)?,
            token: row.get(1)?,
            rhythm: row.get::<_, String>(2)?.into(),
            due: Timestamp::from_micros(row.get(3)?),
            is_paused: row.get(4)?,
        })
    })?;
    rows.collect()
}

pub(super) fn waiting(
    connection: &Connection,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Waiting>> {
    const WAITING: &str = "SELECT name, due FROM tramline_schedule
         WHERE state = 0 AND (?1 IS NULL OR name > ?1) ORDER BY name LIMIT ?2";
    let mut statement = connection.prepare_cached(WAITING)?;
    let rows = statement.query_map(params![after, limit], |row| {
        Ok(Waiting { name: row.get(0)?, due: Timestamp::from_micros(row.get(1)?) })
    })?;
    rows.collect()
}
