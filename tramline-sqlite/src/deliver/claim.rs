//! Messages are taken from the head of a queue, many at once.

use super::held::{Held, Lease};
use super::slots::Reserved;
use crate::error::failed;
use crate::open::core::Core;
use crate::open::session::Session;
use crate::queue::sql::{tail, tail_delivered};
use crate::writer::{Ending, Job, Work, WriteError};
use bytes::Bytes;
use rusqlite::{OptionalExtension, Row};
use std::sync::Arc;
use tokio::sync::oneshot;
use tramline_core::Result;
use tramline_core::clock::Timestamp;
use tramline_core::settlement::Marks;

/// How many bytes of bodies one claim reads, give or take the last: prefetch counts messages, and
/// hundreds of large ones would not fit into memory.
pub(crate) const CLAIM_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A message as it stands in the database, not yet decoded.
pub(crate) struct Taken {
    pub(crate) seq: i64,
    pub(crate) flags: i64,
    pub(crate) failures: u32,
    pub(crate) deliveries: u32,
    pub(crate) marks: Marks,
    pub(crate) history: Option<String>,
    pub(crate) envelope: String,
    pub(crate) body: Bytes,
}

/// What a claim brought.
pub(crate) struct Claimed {
    pub(crate) messages: Vec<(Taken, Held)>,
    /// There was nothing more to take.
    pub(crate) emptied: bool,
    /// When the next delayed message is due.
    pub(crate) next_due: Option<Timestamp>,
}

/// Takes messages for one receiver.
pub(crate) struct Claim {
    pub(crate) core: Arc<Core>,
    pub(crate) session: Arc<Session>,
    pub(crate) queue: i64,
    pub(crate) dead: bool,
    pub(crate) reserved: Reserved,
    pub(crate) reply: oneshot::Sender<Result<Claimed, WriteError>>,
    pub(crate) found: Found,
}

/// What one run of a claim found; of use only once the transaction is in.
#[derive(Default)]
pub(crate) struct Found {
    token: i64,
    entry: u64,
    messages: Vec<Taken>,
    emptied: bool,
    next_due: Option<Timestamp>,
}

impl Job for Claim {
    fn is_durable(&self) -> bool {
        false
    }

    fn rows(&self) -> usize {
        self.reserved.count()
    }

    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn run(&mut self, work: &Work<'_>) -> Result<()> {
        let limit = self.reserved.count();
        // The row of this process comes first: what nobody's row stands for is given back.
        let process = work.process()?;
        let found = if self.dead {
            take_dead(work, self.queue, process, limit)
        } else {
            promote(work, self.queue).and_then(|()| take_ready(work, self.queue, process, limit))
        };
        self.found = found?;
        self.found.entry = *work.shared.entries.borrow();
        if work.effects.borrow().entered.is_some() {
            self.found.entry += 1;
        }
        Ok(())
    }

    fn finish(self: Box<Self>, ending: Ending) {
        let Self { core, session, queue, mut reserved, reply, found, .. } = *self;
        let answer = match ending {
            Ending::Committed => {
                let Found { token, entry, messages, emptied, next_due } = found;
                let lease = Arc::new(Lease { core, session, token, entry, queue });
                if !messages.is_empty() {
                    lease.session.took(&lease);
                }
                let messages = messages.into_iter().map(|taken| {
                    let held = Held::new(lease.clone(), taken.seq, reserved.one());
                    (taken, held)
                });
                Ok(Claimed { messages: messages.collect(), emptied, next_due })
            }
            Ending::Failed(error) => Err(WriteError::Failed(error)),
            Ending::Unknown(error) => Err(WriteError::Unknown(error)),
        };
        drop(reserved);
        // A receiver that is gone drops what it would have got, and so returns it.
        let _ = reply.send(answer);
    }
}

/// Moves delayed messages whose time has come to the others that can be taken.
pub(crate) fn promote(work: &Work<'_>, queue: i64) -> Result<()> {
    /// A claim is short even when very many are due at once: it is woken again for the rest.
    const PROMOTED_MAX: i64 = 1000;
    const MOVE: &str = concat!(
        "INSERT INTO tramline_ready (queue, seq, ",
        tail!(),
        ") SELECT queue, seq, ",
        tail!(),
        " FROM tramline_delayed WHERE queue = ?1 AND (due, seq) <= (?2, ?3)"
    );
    let now = work.now().as_micros();
    let moved = || -> rusqlite::Result<usize> {
        let mut last_due = work.connection.prepare_cached(
            "SELECT due, seq FROM (
                 SELECT due, seq FROM tramline_delayed WHERE queue = ?1 AND due <= ?2
                 ORDER BY due, seq LIMIT ?3 + 0
             ) ORDER BY due DESC, seq DESC LIMIT 1",
        )?;
        let last: Option<(i64, i64)> = last_due
            .query_row([queue, now, PROMOTED_MAX], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((due, seq)) = last else { return Ok(0) };
        work.connection.prepare_cached(MOVE)?.execute([queue, due, seq])?;
        work.connection
            .prepare_cached(
                "DELETE FROM tramline_delayed WHERE queue = ?1 AND (due, seq) <= (?2, ?3)",
            )?
            .execute([queue, due, seq])
    };
    let moved = moved().map_err(|error| failed("make delayed messages ready", error))?;
    if moved > 0 {
        work.wake(queue);
    }
    Ok(())
}

fn take_ready(work: &Work<'_>, queue: i64, process: i64, limit: usize) -> Result<Found> {
    const READ: &str = "SELECT r.rank, r.seq, r.flags, r.failures, r.deliveries + 1, r.trials,
            r.unhandled_since, r.history, b.envelope, b.body
         FROM tramline_ready r CROSS JOIN tramline_body b ON b.id = r.seq
         WHERE r.queue = ?1 ORDER BY r.rank, r.seq LIMIT ?2 + 0";
    const MOVE: &str = concat!(
        "INSERT INTO tramline_leased (token, process, queue, seq, ",
        tail!(),
        ") SELECT ?2, ?3, queue, seq, ",
        tail_delivered!(),
        " FROM tramline_ready WHERE queue = ?1 AND (rank, seq) <= (?4, ?5)"
    );
    let doing = "take messages";
    let head = read_head(work, READ, queue, limit).map_err(|error| failed(doing, error))?;
    let Head { messages, rank, emptied } = head;
    let Some(last) = messages.last() else {
        let next_due = next_due(work, queue).map_err(|error| failed(doing, error))?;
        return Ok(Found { emptied, next_due, ..Found::default() });
    };
    let token = work.token()?;
    let seq = last.seq;
    let moved = || -> rusqlite::Result<Option<Timestamp>> {
        work.connection.prepare_cached(MOVE)?.execute([queue, token, process, rank, seq])?;
        work.connection
            .prepare_cached(
                "DELETE FROM tramline_ready WHERE queue = ?1 AND (rank, seq) <= (?2, ?3)",
            )?
            .execute([queue, rank, seq])?;
        if emptied { next_due(work, queue) } else { Ok(None) }
    };
    let next_due = moved().map_err(|error| failed(doing, error))?;
    Ok(Found { token, messages, emptied, next_due, ..Found::default() })
}

/// The first messages of a queue.
struct Head {
    messages: Vec<Taken>,
    /// The rank of the last one.
    rank: i64,
    /// Nothing stands behind them.
    emptied: bool,
}

fn read_head(work: &Work<'_>, sql: &str, queue: i64, limit: usize) -> rusqlite::Result<Head> {
    let mut statement = work.connection.prepare_cached(sql)?;
    let mut rows = statement.query([queue, limit as i64])?;
    let mut head = Head { messages: Vec::new(), rank: 0, emptied: false };
    let mut bytes = 0;
    while bytes < CLAIM_BYTES_MAX {
        let Some(row) = rows.next()? else {
            head.emptied = head.messages.len() < limit;
            break;
        };
        head.rank = row.get(0)?;
        let taken = Taken::read(row)?;
        bytes += taken.body.len();
        head.messages.push(taken);
    }
    Ok(head)
}

fn next_due(work: &Work<'_>, queue: i64) -> rusqlite::Result<Option<Timestamp>> {
    work.connection
        .prepare_cached("SELECT min(due) FROM tramline_delayed WHERE queue = ?1")?
        .query_row([queue], |row| Ok(row.get::<_, Option<i64>>(0)?.map(Timestamp::from_micros)))
}

fn take_dead(work: &Work<'_>, queue: i64, process: i64, limit: usize) -> Result<Found> {
    const READ: &str = "SELECT d.rank, d.seq, d.flags, d.failures, d.deliveries + 1, d.trials,
            d.unhandled_since, d.history, b.envelope, b.body
         FROM tramline_dead d CROSS JOIN tramline_body b ON b.id = d.seq
         WHERE d.queue = ?1 ORDER BY d.seq LIMIT ?2 + 0";
    const MOVE: &str = concat!(
        "INSERT INTO tramline_leased (token, process, queue, seq, name, reason, failed_at, ",
        tail!(),
        ") SELECT ?2, ?3, queue, seq, name, reason, failed_at, ",
        tail_delivered!(),
        " FROM tramline_dead WHERE queue = ?1 AND seq <= ?4"
    );
    let doing = "take dead letters";
    let head = read_head(work, READ, queue, limit).map_err(|error| failed(doing, error))?;
    let Head { messages, emptied, .. } = head;
    let Some(last) = messages.last() else {
        return Ok(Found { emptied, ..Found::default() });
    };
    let token = work.token()?;
    let seq = last.seq;
    let moved = || -> rusqlite::Result<usize> {
        work.connection.prepare_cached(MOVE)?.execute([queue, token, process, seq])?;
        work.connection
            .prepare_cached("DELETE FROM tramline_dead WHERE queue = ?1 AND seq <= ?2")?
            .execute([queue, seq])
    };
    moved().map_err(|error| failed(doing, error))?;
    Ok(Found { token, messages, emptied, ..Found::default() })
}

impl Taken {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let unhandled_since: Option<i64> = row.get(6)?;
        Ok(Self {
            seq: row.get(1)?,
            flags: row.get(2)?,
            failures: row.get(3)?,
            deliveries: row.get(4)?,
            marks: Marks {
                trials: row.get(5)?,
                unhandled_since: unhandled_since.map(Timestamp::from_micros),
            },
            history: row.get(7)?,
            envelope: row.get(8)?,
            body: Bytes::copy_from_slice(row.get_ref(9)?.as_bytes()?),
        })
    }
}
