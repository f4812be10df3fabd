//! Schedules are changed, inside of transactions.

use crate::error::failed;
use crate::writer::Work;
use rusqlite::{OptionalExtension, params};
use tramline_core::Result;
use tramline_core::clock::Timestamp;
use tramline_core::rows::{SCHEDULES, write_destination, write_envelope};
use tramline_core::store::{
    Change, NAME_KEPT, Plan, Planned, RecurringRow, ScheduleKey, ScheduleState,
};
use tramline_core::transport::Outgoing;

/// Does what a plan asks for.
pub(in crate::store) fn carry_out(work: &Work<'_>, plan: &Plan) -> Result<Planned> {
    let (name, now) = (&*plan.name, plan.now);
    let planned = match &plan.change {
        Change::Put { token, due, outgoing, anew } => {
            let written = (write_destination(&outgoing.to)?, write_envelope(&outgoing.envelope)?);
            put(work, plan, (*token, *due, *anew), outgoing, written)
        }
        Change::Cancel => cancel(work, name, now),
        Change::Recur { token, rhythm, due } => recur(work, name, *token, rhythm, *due),
        Change::Pause(is_paused) => pause(work, name, *is_paused),
    };
    planned.map_err(|error| failed(format!("plan the schedule {name}"), error))
}

/// A name that is still remembered as cancelled stays so.
fn put(
    work: &Work<'_>,
    Plan { name, now, .. }: &Plan,
    (token, due, anew): (i64, Timestamp, bool),
    outgoing: &Outgoing,
    (destination, envelope): (String, String),
) -> rusqlite::Result<Planned> {
    const PUT: &str = "INSERT INTO tramline_schedule
             (name, token, state, due, at, destination, envelope, body)
         VALUES (?1, ?2, 0, ?3, ?3, ?4, ?5, ?6)
         ON CONFLICT (name) DO UPDATE SET token = ?2, state = 0, due = ?3, at = ?3,
             destination = ?4, envelope = ?5, body = ?6
         WHERE ?7 OR state < 2 OR at <= ?8";
    let (due, body) = (due.as_micros(), &outgoing.envelope.body[..]);
    wake_if_first(work, due)?;
    let put = work.connection.prepare_cached(PUT)?.execute(params![
        name,
        token,
        due,
        destination,
        envelope,
        body,
        anew,
        now.as_micros()
    ])?;
    Ok(if put == 1 { Planned::Done } else { Planned::AlreadyCancelled })
}

/// Whoever fires sleeps until the first one is due: only an earlier one is news to him.
fn wake_if_first(work: &Work<'_>, due: i64) -> rusqlite::Result<()> {
    const EARLIER: &str = "SELECT 1 FROM tramline_schedule WHERE state = 0 AND at <= ?1 LIMIT 1";
    let earlier =
        work.connection.prepare_cached(EARLIER)?.query_row([due], |_| Ok(())).optional()?;
    if earlier.is_none() {
        work.wake(SCHEDULES);
    }
    Ok(())
}

fn cancel(work: &Work<'_>, name: &str, now: Timestamp) -> rusqlite::Result<Planned> {
    const KNOWN: &str =
        "SELECT state FROM tramline_schedule WHERE name = ?1 AND (state = 0 OR at > ?2)";
    const CANCEL: &str = "INSERT INTO tramline_schedule (name, token, state, due, at)
         VALUES (?1, 0, ?2, ?3, ?4)
         ON CONFLICT (name) DO UPDATE SET state = ?2, at = ?4,
             destination = NULL, envelope = NULL, body = NULL";
    let known: Option<i64> = work
        .connection
        .prepare_cached(KNOWN)?
        .query_row(params![name, now.as_micros()], |row| row.get(0))
        .optional()?;
    let (planned, state) = ScheduleState::cancelled(known.and_then(ScheduleState::of));
    let until = now.after(NAME_KEPT).as_micros();
    let parameters = params![name, state.number(), now.as_micros(), until];
    work.connection.prepare_cached(CANCEL)?.execute(parameters)?;
    Ok(planned)
}

fn recur(
    work: &Work<'_>,
    name: &str,
    token: i64,
    rhythm: &str,
    due: Timestamp,
) -> rusqlite::Result<Planned> {
    const RECUR: &str = "INSERT INTO tramline_recurring (name, token, rhythm, due, paused)
         VALUES (?1, ?2, ?3, ?4, 0)
         ON CONFLICT (name) DO UPDATE SET rhythm = ?3, due = ?4 WHERE rhythm <> ?3";
    let parameters = params![name, token, rhythm, due.as_micros()];
    work.connection.prepare_cached(RECUR)?.execute(parameters)?;
    work.wake(SCHEDULES);
    Ok(Planned::Done)
}

fn pause(work: &Work<'_>, name: &str, is_paused: bool) -> rusqlite::Result<Planned> {
    const PAUSE: &str = "UPDATE tramline_recurring SET paused = ?2 WHERE name = ?1";
    let found = work.connection.prepare_cached(PAUSE)?.execute(params![name, is_paused])?;
    work.wake(SCHEDULES);
    Ok(if found == 1 { Planned::Done } else { Planned::NotFound })
}

/// It has fired, if it still waits. Answers whether it did.
pub(in crate::store) fn fire(work: &Work<'_>, key: &ScheduleKey, now: Timestamp) -> Result<bool> {
    const FIRE: &str = "UPDATE tramline_schedule
         SET state = 1, at = ?3, destination = NULL, envelope = NULL, body = NULL
         WHERE name = ?1 AND token = ?2 AND state = 0";
    let until = now.after(NAME_KEPT).as_micros();
    let fired = work.connection.prepare_cached(FIRE);
    let fired = fired.and_then(|mut fire| fire.execute(params![key.name, key.token, until]));
    fired.map(|rows| rows == 1).map_err(|error| failed(format!("fire {}", key.name), error))
}

/// Its next moment, if it is as it was read. Answers whether it is.
pub(in crate::store) fn advance(
    work: &Work<'_>,
    row: &RecurringRow,
    next: Timestamp,
) -> Result<bool> {
    const ADVANCE: &str = "UPDATE tramline_recurring SET due = ?6
         WHERE name = ?1 AND token = ?2 AND rhythm = ?3 AND due = ?4 AND paused = ?5";
    let RecurringRow { name, token, rhythm, due, is_paused } = row;
    let advanced = work.connection.prepare_cached(ADVANCE).and_then(|mut advance| {
        let (due, next) = (due.as_micros(), next.as_micros());
        advance.execute(params![name, token, &**rhythm, due, is_paused, next])
    });
    advanced.map(|rows| rows == 1).map_err(|error| failed(format!("advance {name}"), error))
}
