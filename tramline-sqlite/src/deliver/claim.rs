//! Messages are taken from the head of a queue, many at once.

use super::expire::{self, Expired};
use super::held::{Held, Lease};
use crate::error::failed;
use crate::open::core::Core;
use crate::open::session::Session;
use crate::queue::promote::{next_due, promote};
use crate::queue::sql::{tail, tail_delivered};
use crate::writer::{Ending, Job, Work, WriteError};
use bytes::Bytes;
use rusqlite::Row;
use rusqlite::types::ValueRef;
use std::sync::Arc;
use tokio::sync::oneshot;
use tramline_core::Result;
use tramline_core::clock::Timestamp;
use tramline_core::rows::Reserved;
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
    /// Empty if it cannot be read.
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
            take_due_and_ready(work, self.queue, process, limit)
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

fn take_due_and_ready(work: &Work<'_>, queue: i64, process: i64, limit: usize) -> Result<Found> {
    let promoted = promote(work, queue)?;
    let found = take_ready(work, queue, process, limit)?;
    // Nobody is woken for what is taken here and now: under many due times, each would cost
    // everybody a claim for nothing.
    if promoted && !found.emptied {
        work.wake(queue);
    }
    Ok(found)
}

fn take_ready(work: &Work<'_>, queue: i64, process: i64, limit: usize) -> Result<Found> {
    const READ: &str = "SELECT r.rank, r.seq, r.flags, r.failures, r.deliveries + 1, r.trials,
            r.unhandled_since, r.history, b.envelope, b.body, r.expires_at
         FROM tramline_ready r CROSS JOIN tramline_body b ON b.id = r.seq
         WHERE r.queue = ?1 ORDER BY r.rank, r.seq LIMIT ?2 + 0";
    const MOVE: &str = concat!(
        "INSERT INTO tramline_leased (token, process, queue, seq, ",
        tail!(),
        ") SELECT ?2, ?3, queue, seq, ",
        tail_delivered!(),
        " FROM tramline_ready WHERE queue = ?1 AND (rank, seq) <= (?4, ?5)"
    );
    const DELETE: &str = "DELETE FROM tramline_ready WHERE queue = ?1 AND (rank, seq) <= (?2, ?3)";
    let failed = |error| failed("take messages", error);
    let (head, expired) = live_head(work, READ, queue, limit).map_err(failed)?;
    let Head { messages, rank, emptied, .. } = head;
    let token = if messages.is_empty() { 0 } else { work.token()? };
    let moved = || -> rusqlite::Result<Option<Timestamp>> {
        if let Some(last) = messages.last() {
            let parameters = [queue, token, process, rank, last.seq];
            work.connection.prepare_cached(MOVE)?.execute(parameters)?;
            work.connection.prepare_cached(DELETE)?.execute([queue, rank, last.seq])?;
        }
        // Whoever is next in line becomes ready only now: it must not stand in the range above.
        expire::left(work, queue, &expired)?;
        if emptied { next_due(work, queue) } else { Ok(None) }
    };
    let next_due = moved().map_err(failed)?;
    Ok(Found { token, messages, emptied, next_due, ..Found::default() })
}

/// The first messages that have not expired. Those before them are buried, up to a bound: then the
/// head may be empty although the queue is not.
fn live_head(
    work: &Work<'_>,
    sql: &str,
    queue: i64,
    limit: usize,
) -> rusqlite::Result<(Head, Vec<Expired>)> {
    const EXPIRED_MAX: usize = 1000;
    let mut buried = Vec::new();
    loop {
        let mut head = read_head(work, sql, queue, limit)?;
        for mut expired in head.expired.drain(..) {
            expired.bury(work, queue)?;
            buried.push(expired);
        }
        if !head.messages.is_empty() || head.emptied || buried.len() >= EXPIRED_MAX {
            return Ok((head, buried));
        }
    }
}

/// The first messages of a queue.
struct Head {
    messages: Vec<Taken>,
    /// The rank of the last one.
    rank: i64,
    /// Those between them that are not to be handed out.
    expired: Vec<Expired>,
    /// Nothing stands behind them.
    emptied: bool,
}

fn read_head(work: &Work<'_>, sql: &str, queue: i64, limit: usize) -> rusqlite::Result<Head> {
    let mut statement = work.connection.prepare_cached(sql)?;
    let mut rows = statement.query([queue, limit as i64])?;
    let mut head = Head { messages: Vec::new(), rank: 0, expired: Vec::new(), emptied: false };
    let now = work.now().as_micros();
    let mut bytes = 0;
    while bytes < CLAIM_BYTES_MAX {
        let Some(row) = rows.next()? else {
            head.emptied = head.messages.len() + head.expired.len() < limit;
            break;
        };
        let rank = row.get(0)?;
        let taken = Taken::read(row)?;
        bytes += taken.body.len();
        if row.get::<_, Option<i64>>(10)?.is_some_and(|expires_at| expires_at <= now) {
            head.expired.push(Expired::new(rank, &taken));
        } else {
            head.rank = rank;
            head.messages.push(taken);
        }
    }
    Ok(head)
}

fn take_dead(work: &Work<'_>, queue: i64, process: i64, limit: usize) -> Result<Found> {
    const READ: &str = "SELECT d.rank, d.seq, d.flags, d.failures, d.deliveries + 1, d.trials,
            d.unhandled_since, d.history, b.envelope, b.body, NULL
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
            history: text(row.get_ref(7)?),
            envelope: envelope(row.get_ref(8)?, row.get_ref(9)?),
            body: Bytes::copy_from_slice(row.get_ref(9)?.as_bytes().unwrap_or_default()),
        })
    }
}

/// Nothing if the body beside it is no body: what cannot be read must not look like a message.
fn envelope(envelope: ValueRef<'_>, body: ValueRef<'_>) -> String {
    let body_is_readable = body.as_bytes().is_ok();
    text(envelope).filter(|_| body_is_readable).unwrap_or_default()
}

/// A text; what is none must not stop the others of its claim.
fn text(value: ValueRef<'_>) -> Option<String> {
    value.as_str().ok().map(str::to_owned)
}
