//! Settlements are gathered: while one commit is under way, the next gathers.

use super::ending::{Ending, How};
use crate::error::{failed, is_certain};
use crate::link::{Backoff, Connected, Line};
use crate::open::Core;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::types::ToSql;
use tramline_core::clock::Timestamp;
use tramline_core::rows::Charge;
use tramline_core::settlement::Settled;
use tramline_core::{Error, ErrorKind, Result};

/// Something to be written about messages that were taken.
pub(crate) enum Job {
    Ending(Ending),
    /// A claim lets go of a place: its message can be taken again.
    LetGo {
        token: i64,
        queue: i32,
        place: i64,
    },
    /// Nothing of this claim is held any more.
    Over(i64),
    /// A claim lets go of all that it has.
    GiveBack(i64),
    /// Says that everything before it was written.
    Flush(oneshot::Sender<()>),
}

/// The task that settles. Begun with the first job, it ends with the core, or with its runtime; then the
/// next job begins another. What waits is never more than what was taken.
pub(crate) struct Settling {
    line: Arc<Line>,
    jobs: Mutex<Option<mpsc::UnboundedSender<Handed>>>,
}

/// A job keeps its core alive until it is written.
type Handed = (Arc<Core>, Job);

/// How many jobs one commit takes.
const JOBS_MAX: usize = 4000;

impl Settling {
    pub(crate) fn new(line: Arc<Line>) -> Self {
        Self { line, jobs: Mutex::default() }
    }

    /// Hands over a job. Outside of any runtime it comes to nothing, and the lease will end.
    pub(crate) fn submit(&self, core: &Arc<Core>, job: Job) {
        let mut jobs = self.jobs.lock();
        let sender = match jobs.as_ref().filter(|jobs| !jobs.is_closed()) {
            Some(jobs) => jobs.clone(),
            None => {
                let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
                let (sender, receiver) = mpsc::unbounded_channel();
                runtime.spawn(run(self.line.clone(), receiver));
                jobs.insert(sender).clone()
            }
        };
        // What is dropped below may hand over something itself.
        drop(jobs);
        // A runtime that ends at this moment takes the job along: the lease will end.
        let _ = sender.send((core.clone(), job));
    }

    /// What it settles through.
    pub(crate) fn line(&self) -> &Line {
        &self.line
    }

    /// Ends when everything that was handed over before is written.
    pub(crate) async fn flushed(&self, core: &Arc<Core>) {
        let (done, flushed) = oneshot::channel();
        self.submit(core, Job::Flush(done));
        // A task that is gone has nothing more to write.
        let _ = flushed.await;
    }
}

async fn run(line: Arc<Line>, mut jobs: mpsc::UnboundedReceiver<Handed>) {
    let mut gathered = Vec::new();
    while jobs.recv_many(&mut gathered, JOBS_MAX).await > 0 {
        let mut batch = Batch::default();
        let mut of = None;
        for (core, job) in gathered.drain(..) {
            batch.add(job);
            of = Some(core);
        }
        if let Some(core) = of {
            batch.write(&core, &line).await;
        }
    }
}

/// What one transaction writes.
#[derive(Default)]
struct Batch {
    acks: Vec<Ending>,
    others: Vec<Ending>,
    /// By token and queue.
    let_go: BTreeMap<(i64, i32), Vec<i64>>,
    over: Vec<i64>,
    given_back: Vec<i64>,
    flushes: Vec<oneshot::Sender<()>>,
}

/// Which settlements came too late, by their place in the batch.
#[derive(Default)]
struct Verdict {
    acks_lost: Vec<usize>,
    others: Vec<Settled>,
}

impl Batch {
    fn add(&mut self, job: Job) {
        match job {
            Job::Ending(ending) if matches!(ending.how, How::Ack) && !ending.held.lease.dead => {
                self.acks.push(ending);
            }
            Job::Ending(ending) => self.others.push(ending),
            Job::LetGo { token, queue, place } => {
                self.let_go.entry((token, queue)).or_default().push(place);
            }
            Job::Over(token) => self.over.push(token),
            Job::GiveBack(token) => self.given_back.push(token),
            Job::Flush(done) => self.flushes.push(done),
        }
    }

    /// Once the server has answered, everybody is told. An answer that was lost is told, too: their
    /// messages return, if they are still there. What nobody waits for is written until it is.
    async fn write(mut self, core: &Arc<Core>, line: &Line) {
        let mut backoff = Backoff::default();
        loop {
            if self.is_written() {
                self.flushes.into_iter().for_each(flush);
                return;
            }
            let trouble = match line.connected().await {
                Err(error) => Trouble { certain: false, passes: false, told: error },
                Ok(connected) => match self.attempt(core, &connected).await {
                    Ok(verdict) => return self.answer(core, verdict),
                    Err(error) => Trouble::of(core, line, &error).await,
                },
            };
            if !trouble.passes {
                if trouble.certain && self.acks.len() + self.others.len() > 1 {
                    // What one of them is refused for takes none of the others down.
                    for ending in self.acks.drain(..).chain(self.others.drain(..)) {
                        let mut alone = Self::default();
                        alone.add(Job::Ending(ending));
                        Box::pin(alone.write(core, line)).await;
                    }
                    continue;
                }
                for ending in self.acks.drain(..).chain(self.others.drain(..)) {
                    ending.answer(Err(trouble.told.clone()));
                }
                if self.is_written() {
                    continue;
                }
            }
            core.trouble(&trouble.told, &mut backoff).await;
        }
    }

    /// There is nothing to write, or no more.
    fn is_written(&self) -> bool {
        let endings = self.acks.len() + self.others.len();
        endings + self.let_go.len() + self.over.len() + self.given_back.len() == 0
    }

    async fn attempt(
        &self,
        core: &Core,
        connected: &Connected,
    ) -> Result<Verdict, tokio_postgres::Error> {
        if self.others.is_empty() && self.let_go.is_empty() && self.given_back.is_empty() {
            let acks_lost = self.ack(core, connected).await?;
            return Ok(Verdict { acks_lost, others: Vec::new() });
        }
        connected.run("BEGIN").await?;
        match self.in_transaction(core, connected).await {
            Ok(verdict) => connected.run("COMMIT").await.map(|()| verdict),
            Err(error) => {
                // The first error is the one to tell; a failed roll back ends with the connection.
                let _ = connected.run("ROLLBACK").await;
                Err(error)
            }
        }
    }

    async fn in_transaction(
        &self,
        core: &Core,
        connected: &Connected,
    ) -> Result<Verdict, tokio_postgres::Error> {
        const LET_GO: &str = "SELECT tramline.let_go($1, $2)";
        let mut others = Vec::with_capacity(self.others.len());
        let mut let_go = self.let_go.clone();
        for ending in &self.others {
            others.push(carry_out(core, connected, ending).await?);
            if !matches!(ending.how, How::Ack) {
                let lease = &ending.held.lease;
                let_go.entry((lease.token, lease.queue)).or_default().push(ending.held.place);
            }
        }
        for ((token, _), places) in &let_go {
            connected.query(LET_GO, &[token, places]).await?;
        }
        let acks_lost = self.ack(core, connected).await?;
        for token in &self.given_back {
            connected.query(LET_GO, &[token, &None::<Vec<i64>>]).await?;
        }
        Ok(Verdict { acks_lost, others })
    }

    async fn ack(
        &self,
        core: &Core,
        connected: &Connected,
    ) -> Result<Vec<usize>, tokio_postgres::Error> {
        const ACK: &str = "SELECT tramline.ack($1, $2, $3, $4, $5)";
        let queues: Vec<i32> = self.acks.iter().map(|ending| ending.held.lease.queue).collect();
        let places: Vec<i64> = self.acks.iter().map(|ending| ending.held.place).collect();
        let epochs: Vec<i32> = self.acks.iter().map(|ending| ending.held.epoch).collect();
        let row =
            connected.query_one(ACK, &[&core.now(), &queues, &places, &epochs, &self.over]).await?;
        let lost: Vec<i32> = row.get(0);
        Ok(lost.into_iter().map(|nth| nth.unsigned_abs() as usize - 1).collect())
    }

    fn answer(self, core: &Arc<Core>, verdict: Verdict) {
        let settled = self.others.iter().map(|ending| ending.held.lease.queue);
        let mut changed: Vec<i32> =
            settled.chain(self.let_go.keys().map(|(_, queue)| *queue)).collect();
        let particular = self.acks.iter().map(|ending| &ending.held.lease);
        let particular = particular.filter(|lease| lease.is_ordered);
        changed.extend(particular.map(|lease| lease.queue));
        for (index, ending) in self.acks.into_iter().enumerate() {
            let is_lost = verdict.acks_lost.contains(&index);
            ending.answer(Ok(if is_lost { Settled::LeaseLost } else { Settled::Done }));
        }
        for (ending, settled) in self.others.into_iter().zip(verdict.others) {
            ending.answer(Ok(settled));
        }
        core.woken_by_commit(changed);
        self.flushes.into_iter().for_each(flush);
    }
}

/// Why nothing was settled.
struct Trouble {
    /// Nothing has happened.
    certain: bool,
    /// And the same may succeed later.
    passes: bool,
    told: Error,
}

impl Trouble {
    async fn of(core: &Core, line: &Line, error: &tokio_postgres::Error) -> Self {
        let certain = is_certain(error);
        if !certain {
            line.hang_up();
        }
        let told = failed(format!("settle messages at {}", core.target), error);
        let told = core.explained(told).await;
        // A disk that is full has room again before long.
        let may_pass = told.is_transient() || told.kind() == ErrorKind::Full;
        Self { certain, passes: certain && may_pass, told }
    }
}

fn flush(done: oneshot::Sender<()>) {
    // Whoever waited may have gone.
    let _ = done.send(());
}

async fn carry_out(
    core: &Core,
    connected: &Connected,
    ending: &Ending,
) -> Result<Settled, tokio_postgres::Error> {
    const RETRY: &str = "SELECT tramline.retry($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    const BURY: &str = "SELECT tramline.bury($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    const CHARGE_DEAD: &str =
        "SELECT tramline.charge_dead($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    const ACK_DEAD: &str = "SELECT tramline.ack_dead($1, $2, $3) = '{}'";
    const RETURN: &str = "SELECT EXISTS (
            SELECT FROM tramline.claim WHERE token = $1 AND places @> ARRAY[$2::bigint])";
    let held = &ending.held;
    let (queue, place, epoch) = (held.lease.queue, held.place, held.epoch);
    let now = core.now();
    let message: [&(dyn ToSql + Sync); 4] = [&now, &queue, &place, &epoch];
    let row = match &ending.how {
        How::Ack => {
            let (queues, places, epochs) = (vec![queue], vec![place], vec![epoch]);
            connected.query_one(ACK_DEAD, &[&queues, &places, &epochs]).await?
        }
        How::Return => connected.query_one(RETURN, &[&held.lease.token, &place]).await?,
        How::Retry(after, charge) => {
            let (failures, trials, unhandled_since, first) = columns(charge);
            let charge: [&(dyn ToSql + Sync); 5] =
                [&failures, &trials, &unhandled_since, &first, &charge.history];
            if held.lease.dead {
                let own: [&(dyn ToSql + Sync); 2] = [&None::<&str>, &None::<&str>];
                let params = [&message[..], &own[..], &charge[..]].concat();
                connected.query_one(CHARGE_DEAD, &params).await?
            } else {
                let own: [&(dyn ToSql + Sync); 1] = [after];
                let params = [&message[..], &own[..], &charge[..]].concat();
                connected.query_one(RETRY, &params).await?
            }
        }
        How::Bury { name, reason, charge } => {
            let (failures, trials, unhandled_since, first) = columns(charge);
            let charge: [&(dyn ToSql + Sync); 5] =
                [&failures, &trials, &unhandled_since, &first, &charge.history];
            let own: [&(dyn ToSql + Sync); 2] = [name, reason];
            let params = [&message[..], &own[..], &charge[..]].concat();
            let sql = if held.lease.dead { CHARGE_DEAD } else { BURY };
            connected.query_one(sql, &params).await?
        }
    };
    Ok(if row.get(0) { Settled::Done } else { Settled::LeaseLost })
}

/// Failures, trials, since when nobody knows its type, when it failed first.
fn columns(charge: &Charge) -> (i32, i32, Option<i64>, Option<i64>) {
    (
        charge.failures as i32,
        charge.marks.trials as i32,
        charge.marks.unhandled_since.map(Timestamp::as_micros),
        charge.first_failed_at.map(Timestamp::as_micros),
    )
}
