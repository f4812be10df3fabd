//! A unit of work: conditions, closures and messages that are kept together or not at all.

use super::db::Db;
use super::failure::{classify, panicked};
use super::{inbox, schedules};
use crate::deliver::settle::{self, Place};
use crate::error::failed;
use crate::operate::Line;
use crate::writer::{Ending, Job, Work, WriteError, caught};
use std::cell::Cell;
use tokio::sync::oneshot;
use tramline_core::compose::Scope;
use tramline_core::settlement::Settled;
use tramline_core::store::{CommitError, Committed, Condition, Refusal};
use tramline_core::transport::Outgoing;
use tramline_core::{Error, ErrorKind, Failure, Result};

/// What a handler wants written. `Fn`, because it runs again when another one takes the common
/// transaction down.
pub(super) type Closure = Box<dyn Fn(&Db<'_>) -> Result<(), Failure> + Send>;

/// A unit of work as a job.
pub(super) struct Unit {
    pub(super) scope: Option<Scope>,
    pub(super) closures: Vec<Closure>,
    pub(super) conditions: Vec<Condition>,
    pub(super) buffered: Vec<Outgoing>,
    verdict: Option<No>,
    reply: oneshot::Sender<Result<Committed, CommitError>>,
}

/// Why nothing of a unit is kept.
enum No {
    Refused(Vec<(usize, Refusal)>),
    Error(CommitError),
}

impl From<CommitError> for No {
    fn from(error: CommitError) -> Self {
        Self::Error(error)
    }
}

impl From<Error> for No {
    fn from(error: Error) -> Self {
        Self::Error(CommitError::Store(error))
    }
}

type Answer = oneshot::Receiver<Result<Committed, CommitError>>;

impl Unit {
    pub(super) fn new(scope: Option<Scope>, closures: Vec<Closure>) -> (Self, Answer) {
        let (reply, answer) = oneshot::channel();
        let unit = Self {
            scope,
            closures,
            conditions: Vec::new(),
            buffered: Vec::new(),
            verdict: None,
            reply,
        };
        (unit, answer)
    }

    /// In this order: what refuses cheaply, what the closures write, what was buffered.
    fn carry_out(&self, work: &Work<'_>) -> Result<(), No> {
        self.check(work)?;
        let ordinal = Cell::new(0);
        let db = Db::new(work, self.scope.as_ref(), &ordinal);
        let limit = work.shared.settings.statement_limit;
        for closure in &self.closures {
            let run = || work.guard.restrict(limit, || closure(&db));
            // An error of the user's may panic when it is looked at.
            let done = caught(|| run().map_err(|failure| classify(work, failure)));
            done.unwrap_or_else(|text| Err(CommitError::Handler(panicked(&text))))?;
        }
        for outgoing in &self.buffered {
            db.put(outgoing.clone()).map_err(|failure| classify(work, failure))?;
        }
        Ok(())
    }

    fn check(&self, work: &Work<'_>) -> Result<(), No> {
        let mut refused = Vec::new();
        for (index, condition) in self.conditions.iter().enumerate() {
            let refusal = match condition {
                Condition::Ack(ticket) if ticket.database != work.shared.database => {
                    let doing = format!("ack a message of {}", ticket.database);
                    let why = format!("this is {}", work.shared.database);
                    return Err(Error::new(ErrorKind::Misconfigured, doing).because(why).into());
                }
                Condition::Ack(ticket) => match settle::ack(work, Place::of(ticket))? {
                    Settled::Done => None,
                    Settled::LeaseLost => Some(Refusal::LeaseLost),
                },
                Condition::Admit(sighting) => inbox::admit(work, sighting)?,
                Condition::Due { key, now } => unless(schedules::fire(work, key, *now)?),
                Condition::Tick { row, next } => unless(schedules::advance(work, row, *next)?),
                Condition::Plan(plan) => schedules::carry_out(work, plan).map(|_| None)?,
            };
            refused.extend(refusal.map(|refusal| (index, refusal)));
        }
        if refused.is_empty() { Ok(()) } else { Err(No::Refused(refused)) }
    }
}

/// A schedule is not as it was, unless this holds.
fn unless(holds: bool) -> Option<Refusal> {
    (!holds).then_some(Refusal::Changed)
}

impl Unit {
    fn duplicates(&self) -> usize {
        let Some(No::Refused(refused)) = &self.verdict else { return 0 };
        refused.iter().filter(|(_, refusal)| *refusal == Refusal::Duplicate).count()
    }
}

impl Job for Unit {
    fn is_durable(&self) -> bool {
        // Acks alone need no more than a settled delivery does.
        let only_acks = self.closures.is_empty()
            && self.buffered.is_empty()
            && self.conditions.iter().all(|condition| matches!(condition, Condition::Ack(_)));
        !only_acks
    }

    fn rows(&self) -> usize {
        self.closures.len() + self.conditions.len() + self.buffered.len()
    }

    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn run(&mut self, work: &Work<'_>) -> Result<()> {
        let carried_out = work.savepoint(|| self.carry_out(work));
        self.verdict = match carried_out {
            Ok(carried_out) => carried_out.err(),
            Err(error) => return Err(failed("carry out a unit of work", error)),
        };
        if work.is_open() {
            // Behind the savepoint, which is gone with all that was refused.
            return work.count(Line::Duplicates, self.duplicates());
        }
        // It took everybody's transaction down, whatever it says about itself.
        let ended = "its SQL ended the common transaction";
        self.verdict.get_or_insert_with(|| CommitError::Handler(Failure::retryable(ended)).into());
        Err(Error::new(ErrorKind::Refused, "carry out a unit of work").because(ended))
    }

    fn finish(self: Box<Self>, ending: Ending) {
        let answer = match (ending, self.verdict) {
            (Ending::Committed, None) => Ok(Committed::Done),
            (Ending::Committed, Some(No::Refused(refused))) => Ok(Committed::Refused(refused)),
            (Ending::Committed | Ending::Failed(_), Some(No::Error(error))) => Err(error),
            (Ending::Failed(error), _) => Err(CommitError::Store(error)),
            (Ending::Unknown(error), _) => Err(CommitError::Unknown(error)),
        };
        // Whoever asked may have gone; then nobody wants the answer.
        let _ = self.reply.send(answer);
    }
}

/// A unit of work that did not reach the writer, or whose answer was lost.
pub(super) fn lost(error: WriteError) -> CommitError {
    match error {
        WriteError::Failed(error) => CommitError::Store(error),
        WriteError::Unknown(error) => CommitError::Unknown(error),
    }
}
