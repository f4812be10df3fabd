//! What becomes of a message that was taken. Every statement names the claim: a message that is
//! no longer ours is not touched.

use super::completed;
use crate::error::failed;
use crate::queue::leave;
use crate::queue::release::release;
use crate::queue::routes::Queue;
use crate::queue::sql::{DIRECT, tail, tail_returned};
use crate::writer::Work;
use rusqlite::{OptionalExtension, params};
use std::sync::Arc;
use tramline_core::Result;
use tramline_core::clock::Timestamp;
use tramline_core::rows::Charge;
use tramline_core::settlement::Settled;
use tramline_core::transport::Ticket;

/// A message that was taken: its place and its claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) queue: i64,
    pub(crate) seq: i64,
    pub(crate) token: i64,
}

impl Place {
    pub(crate) fn of(ticket: &Ticket) -> Self {
        Self { queue: ticket.queue, seq: ticket.row, token: ticket.token }
    }
}

/// Gone, if it is still ours.
pub(crate) fn ack(work: &Work<'_>, place: Place) -> Result<Settled> {
    let ack = || -> rusqlite::Result<Settled> {
        let leaving = Leaving::look(work, place)?;
        let is_kept = leaving.is_kept();
        if is_kept {
            completed::keep(work, place)?;
        }
        if !unlease(work, place.token, place.seq)? {
            return Ok(Settled::LeaseLost);
        }
        if !is_kept {
            release(work, place.seq)?;
        }
        leaving.go(work, place)?;
        Ok(Settled::Done)
    };
    ack().map_err(|error| failed("ack a message", error))
}

/// Back to its place, as it was.
pub(crate) fn give_back(work: &Work<'_>, token: i64, seq: i64) -> Result<Settled> {
    back(work, token, seq).map_err(|error| failed("give a message back", error))
}

/// Back to its queue, to be taken when it is `due`.
pub(crate) fn retry(
    work: &Work<'_>,
    place: Place,
    due: Timestamp,
    charge: &Charge,
) -> Result<Settled> {
    const DELAY: &str = concat!(
        "INSERT INTO tramline_delayed (queue, due, seq, ",
        tail!(),
        ") SELECT queue, ?3, seq, ",
        tail!(),
        " FROM tramline_leased WHERE token = ?1 AND seq = ?2"
    );
    let retry = || -> rusqlite::Result<Settled> {
        if !write_charge(work, place, charge, due)? {
            return Ok(Settled::LeaseLost);
        }
        if due <= work.now() {
            return back(work, place.token, place.seq);
        }
        let parameters = params![place.token, place.seq, due.as_micros()];
        work.connection.prepare_cached(DELAY)?.execute(parameters)?;
        unlease(work, place.token, place.seq)?;
        work.wake(place.queue);
        Ok(Settled::Done)
    };
    retry().map_err(|error| failed("retry a message", error))
}

/// To the dead letters of its queue.
pub(crate) fn bury(
    work: &Work<'_>,
    place: Place,
    name: &str,
    reason: &str,
    charge: &Charge,
) -> Result<Settled> {
    const BURY: &str = concat!(
        "INSERT INTO tramline_dead (queue, seq, name, reason, failed_at, ",
        tail!(),
        ") SELECT queue, seq, ?3, ?4, ?5, ",
        tail!(),
        " FROM tramline_leased WHERE token = ?1 AND seq = ?2"
    );
    let bury = || -> rusqlite::Result<Settled> {
        if !write_charge(work, place, charge, work.now())? {
            return Ok(Settled::LeaseLost);
        }
        let leaving = Leaving::look(work, place)?;
        let now = work.now().as_micros();
        let parameters = params![place.token, place.seq, name, reason, now];
        work.connection.prepare_cached(BURY)?.execute(parameters)?;
        unlease(work, place.token, place.seq)?;
        leaving.go(work, place)?;
        work.wake(place.queue);
        Ok(Settled::Done)
    };
    bury().map_err(|error| failed("bury a message", error))
}

/// One trial more.
pub(crate) fn mark_trial(work: &Work<'_>, place: Place) -> Result<Settled> {
    let marked = work
        .connection
        .prepare_cached(
            "UPDATE tramline_leased SET trials = trials + 1 WHERE token = ?1 AND seq = ?2",
        )
        .and_then(|mut statement| statement.execute([place.token, place.seq]))
        .map_err(|error| failed("mark the trial of a message", error))?;
    Ok(if marked == 1 { Settled::Done } else { Settled::LeaseLost })
}

/// `since` when it waits for its next taker.
fn write_charge(
    work: &Work<'_>,
    place: Place,
    charge: &Charge,
    since: Timestamp,
) -> rusqlite::Result<bool> {
    let written = work
        .connection
        .prepare_cached(
            "UPDATE tramline_leased SET deliveries = 0, failures = ?3, trials = ?4,
                 unhandled_since = ?5,
                 first_failed_at = coalesce(first_failed_at, ?6), history = ?7,
                 flags = flags | ?8, since = ?9
             WHERE token = ?1 AND seq = ?2",
        )?
        .execute(params![
            place.token,
            place.seq,
            charge.failures,
            charge.marks.trials,
            charge.marks.unhandled_since.map(Timestamp::as_micros),
            charge.first_failed_at.map(Timestamp::as_micros),
            charge.history,
            DIRECT,
            since.as_micros(),
        ])?;
    Ok(written == 1)
}

/// A message on its way out of a queue that has to know of it.
struct Leaving(Option<(Arc<Queue>, Option<String>)>);

impl Leaving {
    /// What the queue has to know: nothing of dead letters, which have left it before.
    fn look(work: &Work<'_>, place: Place) -> rusqlite::Result<Self> {
        let Some(queue) = work.particular(place.queue) else { return Ok(Self(None)) };
        let key: Option<Option<String>> = work
            .connection
            .prepare_cached(
                "SELECT key FROM tramline_leased WHERE token = ?1 AND seq = ?2 AND reason IS NULL",
            )?
            .query_row([place.token, place.seq], |row| row.get(0))
            .optional()?;
        Ok(Self(key.map(|key| (queue, key))))
    }

    /// Whether it is kept to be looked at when it was handled.
    fn is_kept(&self) -> bool {
        self.0.as_ref().is_some_and(|(queue, _)| queue.spec.keep_completed.is_some())
    }

    fn go(self, work: &Work<'_>, place: Place) -> rusqlite::Result<()> {
        match self.0 {
            Some((queue, key)) => leave::left(work, &queue, place.seq, key.as_deref()),
            None => Ok(()),
        }
    }
}

/// Back to where it was taken from.
fn back(work: &Work<'_>, token: i64, seq: i64) -> rusqlite::Result<Settled> {
    const READY: &str = concat!(
        "INSERT INTO tramline_ready (queue, seq, ",
        tail!(),
        ") SELECT queue, seq, ",
        tail_returned!(),
        " FROM tramline_leased WHERE token = ?1 AND seq = ?2 AND reason IS NULL RETURNING queue"
    );
    const DEAD: &str = concat!(
        "INSERT INTO tramline_dead (queue, seq, name, reason, failed_at, ",
        tail!(),
        ") SELECT queue, seq, name, reason, failed_at, ",
        tail_returned!(),
        " FROM tramline_leased WHERE token = ?1 AND seq = ?2 RETURNING queue"
    );
    for sql in [READY, DEAD] {
        let queue: Option<i64> = work
            .connection
            .prepare_cached(sql)?
            .query_row([token, seq], |row| row.get(0))
            .optional()?;
        if let Some(queue) = queue {
            unlease(work, token, seq)?;
            work.wake(queue);
            return Ok(Settled::Done);
        }
    }
    Ok(Settled::LeaseLost)
}

fn unlease(work: &Work<'_>, token: i64, seq: i64) -> rusqlite::Result<bool> {
    let gone = work
        .connection
        .prepare_cached("DELETE FROM tramline_leased WHERE token = ?1 AND seq = ?2")?
        .execute([token, seq])?;
    Ok(gone == 1)
}

/// Back to where they were taken from: whatever is left of a claim.
pub(crate) fn give_back_all(work: &Work<'_>, token: i64) -> Result<()> {
    let give_back = || -> rusqlite::Result<()> {
        let seqs: Vec<i64> = work
            .connection
            .prepare_cached("SELECT seq FROM tramline_leased WHERE token = ?1")?
            .query_map([token], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        seqs.into_iter().try_for_each(|seq| back(work, token, seq).map(|_| ()))
    };
    give_back().map_err(|error| failed("give messages back", error))
}
