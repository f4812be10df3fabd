//! The thread that writes, in groups.

use super::file::{NEXT_QUEUE, QUEUE, queue};
use super::letter::{Letter, Taken};
use super::log::Log;
use super::rows;
use crate::Result;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tramline::MessageId;

/// What the twin's callers hold.
#[derive(Clone)]
pub(crate) struct Hand {
    jobs: mpsc::Sender<Job>,
    /// Rung after a commit with new messages.
    pub(super) arrived: Arc<Notify>,
}

/// What a handler wants kept, together with the ack of its message.
pub(crate) struct Handled {
    pub(crate) order: u64,
    pub(crate) cents: i64,
    /// The message's id, if an inbox row must say that it was seen.
    pub(crate) seen: Option<MessageId>,
    pub(crate) event: Letter,
}

enum Job {
    Put(Vec<Letter>, oneshot::Sender<()>),
    Claim(usize, oneshot::Sender<Vec<Taken>>),
    Ack(i64, i64, oneshot::Sender<bool>),
    Handle(i64, i64, Box<Handled>, oneshot::Sender<bool>),
}

/// What is told after the commit.
enum Answer {
    Put(oneshot::Sender<()>),
    Claimed(Vec<Taken>, oneshot::Sender<Vec<Taken>>),
    Settled(bool, oneshot::Sender<bool>),
}

const JOBS_MAX: usize = 1024;

impl Hand {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let writer = Writer::open(path)?;
        let (jobs, waiting) = mpsc::channel(8 * JOBS_MAX);
        let arrived = Arc::new(Notify::new());
        let bell = arrived.clone();
        thread::Builder::new()
            .name("twin-writer".to_owned())
            .spawn(move || writer.run(waiting, &bell).expect("the twin's writer failed"))?;
        Ok(Self { jobs, arrived })
    }

    pub(crate) async fn put(&self, letters: Vec<Letter>) -> Result<()> {
        self.ask(|reply| Job::Put(letters, reply)).await
    }

    pub(super) async fn claim(&self, limit: usize) -> Result<Vec<Taken>> {
        self.ask(|reply| Job::Claim(limit, reply)).await
    }

    pub(crate) async fn ack(&self, taken: &Taken) -> Result<()> {
        still_ours(self.ask(|reply| Job::Ack(taken.token, taken.seq, reply)).await?)
    }

    pub(crate) async fn handle(&self, taken: &Taken, handled: Handled) -> Result<()> {
        let (token, seq) = (taken.token, taken.seq);
        still_ours(self.ask(|reply| Job::Handle(token, seq, Box::new(handled), reply)).await?)
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).await.map_err(|_| "the twin's writer has ended")?;
        Ok(answer.await?)
    }
}

fn still_ours(settled: bool) -> Result<()> {
    if settled { Ok(()) } else { Err("a lease of the twin was lost".into()) }
}

struct Writer {
    db: Connection,
    log: Log,
    queue: i64,
    next_queue: i64,
    tokens: i64,
    durable: bool,
}

impl Writer {
    fn open(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags)?;
        db.busy_timeout(Duration::from_secs(10))?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.pragma_update(None, "temp_store", "MEMORY")?;
        db.set_prepared_statement_cache_capacity(64);
        Ok(Self {
            log: Log::new(&db, path)?,
            queue: queue(&db, QUEUE)?,
            next_queue: queue(&db, NEXT_QUEUE)?,
            db,
            tokens: 1_000_000,
            durable: true,
        })
    }

    fn run(mut self, mut jobs: mpsc::Receiver<Job>, arrived: &Notify) -> rusqlite::Result<()> {
        let mut group = Vec::with_capacity(JOBS_MAX);
        while jobs.blocking_recv_many(&mut group, JOBS_MAX) > 0 {
            let durable = group.iter().any(|job| matches!(job, Job::Put(..) | Job::Handle(..)));
            self.sync(durable)?;
            self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            let mut answers = Vec::with_capacity(group.len());
            for job in group.drain(..) {
                answers.push(self.carry_out(job)?);
            }
            self.db.prepare_cached("COMMIT")?.execute([])?;
            let put = answers.iter().any(|answer| matches!(answer, Answer::Put(_)));
            answers.into_iter().for_each(Answer::tell);
            if put {
                arrived.notify_one();
            }
            self.log.tend(&self.db)?;
        }
        Ok(())
    }

    fn sync(&mut self, durable: bool) -> rusqlite::Result<()> {
        if durable != self.durable {
            self.durable = durable;
            let level = if durable { "FULL" } else { "NORMAL" };
            self.db.pragma_update(None, "synchronous", level)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, job: Job) -> rusqlite::Result<Answer> {
        Ok(match job {
            Job::Put(letters, reply) => {
                for letter in &letters {
                    rows::insert(&self.db, self.queue, letter, 0)?;
                }
                Answer::Put(reply)
            }
            Job::Claim(limit, reply) => {
                self.tokens += 1;
                Answer::Claimed(rows::claim(&self.db, self.queue, self.tokens, limit)?, reply)
            }
            Job::Ack(token, seq, reply) => Answer::Settled(rows::ack(&self.db, token, seq)?, reply),
            Job::Handle(token, seq, handled, reply) => {
                Answer::Settled(self.handle(token, seq, &handled)?, reply)
            }
        })
    }

    /// Everything of one message, or nothing.
    fn handle(&self, token: i64, seq: i64, handled: &Handled) -> rusqlite::Result<bool> {
        /// It was published inside a transaction.
        const BORN_HERE: i64 = 1;
        self.db.prepare_cached("SAVEPOINT handled")?.execute([])?;
        let settled = rows::ack(&self.db, token, seq)?;
        if settled {
            if let Some(id) = &handled.seen {
                rows::admit(&self.db, &id.to_string())?;
            }
            rows::charge(&self.db, handled.order, handled.cents)?;
            rows::insert(&self.db, self.next_queue, &handled.event, BORN_HERE)?;
        }
        self.db.prepare_cached("RELEASE handled")?.execute([])?;
        Ok(settled)
    }
}

impl Answer {
    fn tell(self) {
        // Who does not wait any more has ended with an error of its own.
        match self {
            Self::Put(reply) => drop(reply.send(())),
            Self::Claimed(taken, reply) => drop(reply.send(taken)),
            Self::Settled(settled, reply) => drop(reply.send(settled)),
        }
    }
}
