//! What there is to do, as it stands in the tables.

use crate::link::Connected;
use crate::store::outbox::CLAIM_BYTES_MAX;
use bytes::Bytes;
use futures_util::future::try_join3;
use std::sync::Arc;
use tokio_postgres::Row;
use tramline_core::clock::Timestamp;
use tramline_core::rows::{read_destination, read_envelope};
use tramline_core::store::{DueSchedule, Look, RecurringRow, ScheduleKey, Waiting};
use tramline_core::transport::Outgoing;
use tramline_core::{Error, ErrorKind, Result};

pub(super) async fn look(
    connected: &Connected,
    limit: u32,
    now: Timestamp,
) -> Result<Look, tokio_postgres::Error> {
    const DUE: &str = "SELECT name, token, due, destination, envelope, body
         FROM tramline.due_schedules($1, $2, $3)";
    const NEXT: &str = "SELECT tramline.next_schedule($1)";
    const RECURRING: &str =
        "SELECT name, token, rhythm, due, paused FROM tramline.recurring ORDER BY name";
    let (now, limit) = (now.as_micros(), i64::from(limit));
    // They go out together.
    let (due, next, recurring) = try_join3(
        connected.query(DUE, &[&now, &limit, &CLAIM_BYTES_MAX]),
        connected.query_one(NEXT, &[&now]),
        connected.query(RECURRING, &[]),
    )
    .await?;
    Ok(Look {
        due: due.iter().map(due_schedule).collect(),
        next: next.get::<_, Option<i64>>(0).map(Timestamp::from_micros),
        recurring: recurring.iter().map(recurring_row).collect(),
    })
}

fn due_schedule(row: &Row) -> DueSchedule {
    DueSchedule {
        key: ScheduleKey { name: row.get(0), token: row.get(1) },
        due: Timestamp::from_micros(row.get(2)),
        outgoing: outgoing(row),
    }
}

fn outgoing(row: &Row) -> Result<Outgoing> {
    let read = || -> Result<(&str, &str, &[u8]), tokio_postgres::Error> {
        Ok((row.try_get(3)?, row.try_get(4)?, row.try_get(5)?))
    };
    let corrupt = |error| Error::new(ErrorKind::Corrupt, "read a schedule").because(error);
    let (destination, envelope, body) = read().map_err(corrupt)?;
    let envelope = Arc::new(read_envelope(envelope, Bytes::copy_from_slice(body))?);
    Ok(Outgoing { to: read_destination(destination)?, envelope, due: None, copy: None })
}

fn recurring_row(row: &Row) -> RecurringRow {
    RecurringRow {
        name: row.get(0),
        token: row.get(1),
        rhythm: row.get::<_, &str>(2).into(),
        due: Timestamp::from_micros(row.get(3)),
        is_paused: row.get(4),
    }
}

pub(super) async fn waiting(
    connected: &Connected,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Waiting>, tokio_postgres::Error> {
    const WAITING: &str = "SELECT name, due FROM tramline.schedule
         WHERE state = 0 AND name > $1 ORDER BY name LIMIT $2";
    // No name has a NUL, so those behind it are behind what stands before it.
    let after = after.and_then(|after| after.split('\0').next()).unwrap_or_default();
    let rows = connected.query(WAITING, &[&after, &i64::from(limit)]).await?;
    let waiting = |row: &Row| Waiting { name: row.get(0), due: Timestamp::from_micros(row.get(1)) };
    Ok(rows.iter().map(waiting).collect())
}
