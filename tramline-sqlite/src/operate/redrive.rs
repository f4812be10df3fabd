//! Dead letters go back to their queue as new messages under their old ids.

use super::{peek, purge};
use crate::error::failed;
use crate::queue::promote::promote_before;
use crate::queue::release::release;
use crate::queue::routes::Queue;
use crate::queue::sql::DIRECT;
use crate::queue::{lane, length, unique};
use crate::sqlite::Sqlite;
use crate::writer::{Plan, Work, WriteError};
use rusqlite::params;
use tramline_core::Result;
use tramline_core::name::QueueName;
use tramline_core::operate::{Chosen, Pace, Redrive};

/// How many dead letters are looked at in one step, and moved in one transaction.
const STEP: u32 = 1000;
/// Fewer when their bodies have to be read: a step must fit into memory.
const STEP_WITH_BODIES: u32 = 50;

/// What one step found.
struct Step {
    chosen: Vec<i64>,
    /// The last that was looked at; `None` at the end.
    last: Option<i64>,
}

impl Sqlite {
    /// Looks at the dead letters on a reader and moves what is chosen on the writer. What dies
    /// again meanwhile stands behind the last one and is left alone.
    pub(super) async fn redrive_in_steps(&self, queue: &QueueName, what: Redrive) -> Result<u64> {
        let pace = Pace::new(queue, what.rate, STEP)?;
        let clock = &self.core.shared.settings.clock;
        let mut next = clock.now();
        let chosen = Chosen::new(queue, what.selection)?;
        let end = self.look_at(queue, |connection, id| purge::last(connection, id, true)).await?;
        let (mut after, mut count) = (i64::MIN, 0);
        loop {
            let chosen = chosen.clone();
            let look = move |connection: &rusqlite::Connection, id| {
                look(connection, id, after, end, &chosen)
            };
            let (id, step) = self.look_at_with_id(queue, look).await?;
            if what.dry_run {
                count += step.chosen.len() as u64;
            } else {
                for seqs in step.chosen.chunks(pace.at_once) {
                    clock.sleep_until(next).await;
                    next = clock.now().after(pace.pause);
                    let seqs = seqs.to_vec();
                    let plan = Plan::durable(seqs.len());
                    let redrive = move |work: &Work<'_>| redrive(work, id, &seqs);
                    count +=
                        self.core.write(plan, redrive).await.map_err(WriteError::into_error)?;
                }
            }
            match step.last {
                Some(last) => after = last,
                None => return Ok(count),
            }
        }
    }
}

fn look(
    connection: &rusqlite::Connection,
    queue: i64,
    after: i64,
    end: i64,
    chosen: &Chosen,
) -> rusqlite::Result<Step> {
    if let Chosen::All = chosen {
        const SQL: &str = "SELECT seq FROM tramline_dead WHERE queue = ?1 AND seq > ?2
             AND seq <= ?3 ORDER BY seq LIMIT ?4 + 0";
        let mut select = connection.prepare_cached(SQL)?;
        let rows = select.query_map((queue, after, end, STEP), |row| row.get(0))?;
        let chosen = rows.collect::<rusqlite::Result<Vec<i64>>>()?;
        return Ok(Step { last: chosen.last().copied(), chosen });
    }
    let looked = peek::dead_letters(connection, queue, after, STEP_WITH_BODIES)?;
    let looked = || looked.iter().filter(|dead| dead.position <= end);
    Ok(Step {
        last: looked().next_back().map(|dead| dead.position),
        chosen: looked().filter(|dead| chosen.holds(dead)).map(|dead| dead.position).collect(),
    })
}

/// Moves those that are still dead and not taken. Answers how many.
fn redrive(work: &Work<'_>, queue: i64, seqs: &[i64]) -> Result<u64> {
    let redrive = || -> rusqlite::Result<u64> {
        let mut count = 0;
        for seq in seqs {
            count += u64::from(redrive_one(work, queue, *seq)?);
        }
        Ok(count)
    };
    let count = redrive().map_err(|error| failed("redrive dead letters", error))?;
    work.wake(queue);
    Ok(count)
}

/// A new body gives the message its place at the end, and leaves the envelope as it was for other
/// queues that have the message too.
fn redrive_one(work: &Work<'_>, queue: i64, seq: i64) -> rusqlite::Result<bool> {
    // The subject of a message without a name is what its handler is found by. `json_insert` adds
    // only what is missing. What is no JSON stays as it is.
    const COPY: &str = "INSERT INTO tramline_body (refs, envelope, body)
         SELECT 1, CASE
             WHEN NOT json_valid(envelope) THEN envelope
             WHEN envelope ->> '$.via.subject' IS NULL
                 THEN json_remove(envelope, '$.via', '$.expires_at')
             ELSE json_remove(
                 json_insert(envelope, '$.name', envelope ->> '$.via.subject'),
                 '$.via', '$.expires_at'
             )
         END, body FROM tramline_body
         WHERE id = ?2 AND EXISTS (SELECT 1 FROM tramline_dead WHERE queue = ?1 AND seq = ?2)";
    const READY: &str = "INSERT INTO tramline_ready (queue, seq, rank, since, flags, failures,
             deliveries, trials, key)
         SELECT queue, ?3, rank, ?4, flags | ?5, 0, 0, 0, key FROM tramline_dead
         WHERE queue = ?1 AND seq = ?2";
    const BEHIND: &str = "INSERT INTO tramline_behind (queue, seq, rank, since, flags, failures,
             deliveries, trials, key, lane, place)
         SELECT queue, ?3, rank, ?4, flags | ?5, 0, 0, 0, key, ?6, ?7 FROM tramline_dead
         WHERE queue = ?1 AND seq = ?2";
    const DELETE: &str = "DELETE FROM tramline_dead WHERE queue = ?1 AND seq = ?2";
    if work.connection.prepare_cached(COPY)?.execute([queue, seq])? == 0 {
        return Ok(false);
    }
    let new = work.connection.last_insert_rowid();
    let now = work.now().as_micros();
    let particular = work.particular(queue);
    let lane = match &particular {
        Some(queue) => enter(work, queue, seq, new)?,
        None => None,
    };
    match lane {
        None => {
            let parameters = params![queue, seq, new, now, DIRECT];
            work.connection.prepare_cached(READY)?.execute(parameters)?;
        }
        Some(lane) => {
            let place = lane::last_place(work, queue, &lane)?;
            let parameters = params![queue, seq, new, now, DIRECT, lane, place];
            work.connection.prepare_cached(BEHIND)?.execute(parameters)?;
        }
    }
    work.connection.prepare_cached(DELETE)?.execute([queue, seq])?;
    release(work, seq)?;
    Ok(true)
}

/// The dead letter `seq` comes in as `new`. Answers the lane that it must wait in, if something is out of that.
fn enter(work: &Work<'_>, queue: &Queue, seq: i64, new: i64) -> rusqlite::Result<Option<String>> {
    let key: Option<String> = work
        .connection
        .prepare_cached("SELECT key FROM tramline_dead WHERE queue = ?1 AND seq = ?2")?
        .query_row([queue.id, seq], |row| row.get(0))?;
    length::grow(work, queue, 1)?;
    unique::hold(work, queue, new, key.as_deref())?;
    let Some(lane) = queue.lane(key.as_deref()) else { return Ok(None) };
    promote_before(work, queue)?;
    let leads = lane::lead(work, queue.id, lane, new)?;
    Ok((!leads).then(|| lane.to_owned()))
}
