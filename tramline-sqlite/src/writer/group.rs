//! One group of jobs: one transaction, and what happens when somebody in it takes it down.

use super::caught::caught;
use super::control::Control;
use super::guard::Guard;
use super::job::{Ending, Job, Task};
use super::log::Log;
use super::submit::Plan;
use super::tokens::Tokens;
use super::work::Work;
use crate::error::{failed_on, kind};
use crate::open::core::Shared;
use crate::processes::checkpoint::Checkpoints;
use crate::processes::reap;
use crate::schema;
use rusqlite::{Connection, ErrorCode};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tramline_core::{Error, ErrorKind, Result};

/// A group ends here even if more is waiting, so that other processes get their turn.
const TIME_MAX: Duration = Duration::from_millis(20);

/// The connection that writes, with all that belongs to it.
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    pub(crate) shared: Arc<Shared>,
    guard: Guard,
    control: Control,
    tokens: RefCell<Tokens>,
    pub(super) log: Log,
}

type Jobs = VecDeque<Box<dyn Job>>;

/// What came of a transaction.
enum Attempt {
    /// Everything but the jobs that no time was left for.
    Done(Jobs),
    /// Nothing. The guilty one was answered; these, in parts, are to be tried again.
    Again(Jobs, Jobs),
    /// Nothing, and nobody in it is known to be guilty.
    Failed(Jobs, Fault),
}

/// Why nothing of a transaction is in.
enum Fault {
    /// SQLite failed before the commit.
    Before(rusqlite::Error),
    /// The commit itself failed.
    AtCommit(rusqlite::Error),
    /// A newer program has migrated the file to this version, which this one does not know.
    Migrated(u32),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Before(error)
    }
}

impl Writer {
    /// `checkpoints` asks for a checkpoint beside the commits.
    pub(crate) fn new(
        connection: Connection,
        shared: Arc<Shared>,
        checkpoints: Checkpoints,
    ) -> rusqlite::Result<Self> {
        rusqlite::vtab::array::load_module(&connection)?;
        let guard = Guard::install(&connection)?;
        let control = Control::new(shared.settings.sync, &*shared.settings.entropy);
        let log = Log::new(&connection, checkpoints)?;
        Ok(Self { connection, shared, guard, control, tokens: RefCell::default(), log })
    }

    /// Takes this process off the file: whatever it still holds goes back.
    pub(super) fn leave(&self) {
        let (task, _) = Task::new(Plan::passing(1).kept(), reap::leave);
        self.run(Jobs::from([Box::new(task) as Box<dyn Job>]));
    }

    /// Runs `jobs` in one transaction and answers them. Gives back those that no time was left
    /// for.
    ///
    /// A job that fails takes the transaction down. It is answered, and those before it and
    /// those behind it run again in transactions of their own: each job runs at most once more
    /// for each guilty one, and a group of nothing but guilty ones costs no more than their
    /// number.
    pub(super) fn run(&self, jobs: Jobs) -> Jobs {
        let mut parts = VecDeque::from([jobs]);
        let mut left = Jobs::new();
        while let Some(part) = parts.pop_front() {
            if part.is_empty() {
                continue;
            }
            match self.attempt(part) {
                Attempt::Done(rest) => left.extend(rest),
                Attempt::Again(before, behind) => {
                    parts.push_front(behind);
                    parts.push_front(before);
                }
                // Too much for the disk together may go in one by one; once.
                Attempt::Failed(jobs, Fault::AtCommit(_)) if jobs.len() > 1 => {
                    parts.extend(jobs.into_iter().map(|job| Jobs::from([job])));
                }
                Attempt::Failed(jobs, fault) => self.fail(jobs, &fault),
            }
        }
        left
    }

    fn attempt(&self, mut jobs: Jobs) -> Attempt {
        let durable = jobs.iter().any(|job| job.is_durable());
        if let Err(error) = self.control.begin(&self.connection, durable) {
            return Attempt::Failed(jobs, error.into());
        }
        let work =
            Work::new(&self.connection, &self.shared, &self.guard, &self.control, &self.tokens);
        if let Err(fault) = catch_up(&work) {
            self.roll_back();
            return Attempt::Failed(jobs, fault);
        }
        let begun = Instant::now();
        let mut done = 0;
        while done < jobs.len() && (done == 0 || begun.elapsed() < TIME_MAX) {
            if let Err(error) = self.run_one(&mut jobs[done], &work) {
                self.roll_back();
                let behind = jobs.split_off(done + 1);
                if let Some(guilty) = jobs.pop_back() {
                    self.finish(guilty, Ending::Failed(error));
                }
                return Attempt::Again(jobs, behind);
            }
            done += 1;
        }
        let rest = jobs.split_off(done);
        match self.control.commit(&self.connection) {
            Ok(()) => {
                self.committed(work);
                jobs.into_iter().for_each(|job| self.finish(job, Ending::Committed));
                Attempt::Done(rest)
            }
            Err(error) => {
                self.roll_back();
                jobs.extend(rest);
                Attempt::Failed(jobs, Fault::AtCommit(error))
            }
        }
    }

    /// Runs one job. An interrupt, a full disk or an I/O error makes SQLite roll the whole
    /// transaction back, whatever the job answers. After a panic the caller does.
    fn run_one(&self, job: &mut Box<dyn Job>, work: &Work<'_>) -> Result<()> {
        caught(|| job.run(work)).unwrap_or_else(|panic| {
            Err(Error::new(ErrorKind::Refused, "write").because(format!("panicked: {panic}")))
        })?;
        if self.connection.is_autocommit() {
            let doing = "write: a statement ended the transaction of the whole group";
            return Err(Error::new(ErrorKind::Refused, doing));
        }
        Ok(())
    }

    /// Answers a job. What it captured is dropped with it, which may panic after the answer.
    fn finish(&self, job: Box<dyn Job>, ending: Ending) {
        if let Err(panic) = caught(move || job.finish(ending)) {
            tracing::error!(%panic, file = %self.shared.path.display(), "a job's end panicked");
        }
    }

    fn committed(&self, work: Work<'_>) {
        let (effects, routes) = work.into_parts();
        if self.shared.routes.read().version != routes.version {
            *self.shared.routes.write() = routes;
        }
        if let Some(id) = effects.entered {
            self.shared.member.id.store(id, Ordering::Relaxed);
            // Everybody who holds something from before has lost it.
            self.shared.entries.send_modify(|entries| *entries += 1);
        }
        for to in self.shared.unrouted.newly(effects.unrouted) {
            tracing::warn!(to, "published in a transaction, and no queue has subscribed to it");
        }
        if effects.shrank {
            self.log.shrank();
        }
        if !effects.woken.is_empty() {
            self.shared.wake(&effects.woken);
        }
    }

    pub(super) fn roll_back(&self) {
        self.tokens.borrow_mut().forget();
        if let Err(error) = self.control.rollback(&self.connection) {
            tracing::error!(%error, file = %self.shared.path.display(), "failed to roll back");
        }
    }

    fn fail(&self, jobs: Jobs, fault: &Fault) {
        let unknown = matches!(fault, Fault::AtCommit(error)
            if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure));
        for job in jobs {
            let error = self.error(fault);
            let ending = if unknown { Ending::Unknown(error) } else { Ending::Failed(error) };
            self.finish(job, ending);
        }
    }

    /// The error for one of many jobs. `rusqlite::Error` cannot be cloned, its essence can.
    fn error(&self, fault: &Fault) -> Error {
        let error = match fault {
            Fault::Before(error) | Fault::AtCommit(error) => error,
            Fault::Migrated(version) => {
                return schema::too_new("write to", &self.shared.path, *version);
            }
        };
        let error = match error {
            rusqlite::Error::SqliteFailure(code, text) => {
                rusqlite::Error::SqliteFailure(*code, text.clone())
            }
            other => return Error::new(kind(other), "write").because(other.to_string()),
        };
        failed_on("write to", &self.shared.path, error)
    }
}

/// Reads again what others have changed since the last group. A migration is such a change too:
/// from then on this program must write nothing, for it would write rows in an old form.
fn catch_up(work: &Work<'_>) -> Result<(), Fault> {
    let Some(version) = work.changed_routes()? else { return Ok(()) };
    if let Some(version) = schema::unknown_version(work.connection)? {
        return Err(Fault::Migrated(version));
    }
    Ok(work.read_routes(version)?)
}
