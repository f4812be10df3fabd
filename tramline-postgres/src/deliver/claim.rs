//! Messages are taken from the head of a queue, many at once.

use super::head::Look;
use super::held::{Held, Lease};
use super::settling::Job;
use super::taken::Taken;
use crate::error::{failed, is_certain};
use crate::link::Backoff;
use crate::open::{Core, Session};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use tramline_core::clock::Timestamp;
use tramline_core::rows::Reserved;
use tramline_core::{Error, Result};

/// How many bytes of bodies one claim reads, give or take the last: prefetch counts messages, and
/// hundreds of large ones would not fit into memory.
pub(super) const CLAIM_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a claim brought.
pub(super) struct Claimed {
    pub(super) messages: Vec<(Taken, Held)>,
    /// When the next delayed message is due, if there was nothing more.
    pub(super) next_due: Option<Timestamp>,
    pub(super) look: Look,
}

impl Claimed {
    fn nothing(from: Option<i64>) -> Self {
        let look = Look { from, last: None, count: 0, emptied: true, took: Duration::ZERO };
        Self { messages: Vec::new(), next_due: None, look }
    }
}

/// What is due now is not looked for more often than this.
const SOON: Duration = Duration::from_millis(1);

/// Takes messages for one receiver.
pub(super) struct Claim {
    pub(super) core: Arc<Core>,
    pub(super) session: Arc<Session>,
    pub(super) queue: i32,
    pub(super) dead: bool,
    pub(super) is_ordered: bool,
    pub(super) reserved: Reserved,
    /// Where to begin, if not at the very beginning of the queue.
    pub(super) from: Option<i64>,
    /// Whoever takes wants nothing more.
    pub(super) stopped: watch::Receiver<bool>,
}

macro_rules! take {
    ($call:literal) => {
        concat!(
            "SELECT place, epoch, flags, failures, deliveries, trials, unhandled_since, history,
                 envelope, body
             FROM tramline.",
            $call
        )
    };
}

impl Claim {
    /// Runs by itself: whoever waits for the answer may go, and what was taken returns.
    pub(super) fn begin(self) -> oneshot::Receiver<Result<Claimed>> {
        let (reply, answer) = oneshot::channel();
        tokio::spawn(async move {
            // A receiver that is gone drops what it would have got, and so returns it.
            let claimed = self.run(&reply).await;
            let _ = reply.send(claimed);
        });
        answer
    }

    async fn run(self, reply: &oneshot::Sender<Result<Claimed>>) -> Result<Claimed> {
        const TAKE: &str = take!("take($1, $2, $3, $4, $5, $6, $7, $8, $9)");
        const TAKE_DEAD: &str = take!("take_dead($1, $2, $3, $4, $5, $6, $7, $8)");
        const NEXT_DUE: &str = "SELECT tramline.next_due($1, $2)";
        let Self { core, session, queue, dead, is_ordered, mut reserved, from, mut stopped } = self;
        let mut backoff = Backoff::default();
        loop {
            core.refuse_when_outdated()?;
            let connected = tokio::select! {
                biased;
                // Nothing was asked for yet.
                _ = stopped.wait_for(|stopped| *stopped) => return Ok(Claimed::nothing(from)),
                connected = core.taking.connected() => connected?,
            };
            if reply.is_closed() {
                return Err(gone());
            }
            let asked = core.leases.asks((core.settings.entropy.bits() as i64) & i64::MAX);
            let token = asked.token;
            let most = reserved.count().min(i32::MAX as usize) as i32;
            let (bytes_max, lease_micros, now) =
                (CLAIM_BYTES_MAX as i64, core.lease_micros(), core.now());
            let (process, label) = (&core.process, &core.label);
            let params: [&(dyn ToSql + Sync); 9] =
                [&queue, &most, &bytes_max, &token, process, label, &lease_micros, &now, &from];
            let began = Instant::now();
            let rows = match dead {
                true => connected.query(TAKE_DEAD, &params[..8]).await,
                false => connected.query(TAKE, &params).await,
            };
            let took = began.elapsed();
            let rows = match rows {
                Ok(rows) => rows,
                Err(error) => {
                    if !is_certain(&error) {
                        // It may have been made: nobody has it.
                        core.settling.submit(&core, Job::GiveBack(token));
                        core.taking.hang_up();
                    }
                    let error = failed(format!("take messages from {}", core.target), &error);
                    if !error.is_transient() {
                        return Err(core.explained(error).await);
                    }
                    tokio::select! {
                        biased;
                        _ = stopped.wait_for(|stopped| *stopped) => {}
                        () = core.trouble(&error, &mut backoff) => {}
                    }
                    continue;
                }
            };
            let has_place = |row: &&Row| row.get::<_, Option<i64>>(0).is_some();
            let taken: Vec<Taken> = rows.iter().filter(has_place).map(Taken::read).collect();
            let is_cut_short = taken.len() < rows.len();
            let bytes: usize = taken.iter().map(|taken| taken.body.len()).sum();
            let is_full = taken.len() >= most as usize || bytes >= CLAIM_BYTES_MAX;
            let emptied = !is_full && !is_cut_short;
            let next_due = match (dead, emptied) {
                (false, true) => {
                    let row = connected.query_one(NEXT_DUE, &[&queue, &core.now()]).await;
                    // Not known: the next look will tell.
                    row.ok().and_then(|row| row.get::<_, Option<i64>>(0))
                }
                _ => None,
            };
            let (last, count) = (taken.last().map(|taken| taken.place), taken.len());
            let look = Look { from, last, count, emptied, took };
            let held = taken.len();
            let lease = Lease::new(core.clone(), session, token, queue, dead, is_ordered, held);
            if !taken.is_empty() {
                core.leases.took(&lease);
                core.announced.took();
            }
            let messages = taken.into_iter().map(|taken| {
                let held = Held::new(lease.clone(), taken.place, taken.epoch, reserved.one());
                (taken, held)
            });
            let messages = messages.collect();
            // By the server's clock, which need not agree with ours.
            let next_due = next_due.map(|due| {
                let due = Duration::from_micros(due.max(0).unsigned_abs());
                core.here().after(due.max(SOON))
            });
            return Ok(Claimed { messages, next_due, look });
        }
    }
}

/// A claim whose task has ended without an answer.
pub(super) fn gone() -> Error {
    Error::new(
        tramline_core::ErrorKind::Unavailable,
        "take messages: the runtime that takes has ended",
    )
}
