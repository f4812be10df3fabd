//! One group after the other, on one connection.

use super::attempt::{At, Attempt, Calls, Ended, Ready, Run};
use super::conclusion::{CONCLUDE, SCHEDULE};
use super::decision::{Cause, Detail, cause};
use super::shunned::Shunned;
use super::unit::Waiting;
use crate::error::{failed, is_certain, words};
use crate::link::{Connected, Line};
use crate::open::{Core, OUTBOX, SCHEDULES};
use crate::queue::{Legs, Routes};
use crate::store::conditions::Asked;
use crate::store::failure::explained;
use crate::store::queued::{Prepared, Preparing, columns, statement_failed};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::Statement;
use tramline_core::store::{CommitError, Committed};
use tramline_core::{Error, ErrorKind, Failure};

/// How many units one transaction ends.
const UNITS_MAX: usize = 500;
/// How many, if each is to be undone for itself.
const APART_MAX: usize = 100;
/// How many units one request runs: what it may take is limited, and few are not worth it.
const RUN_MAX: usize = 100;
const RUN_MIN: usize = 4;
/// How many bytes of statements and messages, give or take the last unit.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// How many conditions: each message that is remembered takes a lock of the server, which has few.
const CONDITIONS_MAX: usize = 1000;
/// How often a unit is tried with others, before it is tried alone.
const TRIES_MAX: u32 = 10;
/// How long a connection is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the task that ends units remembers from one group to the next.
pub(super) struct Groups {
    line: Arc<Line>,
    prepared: Prepared,
    shunned: Shunned,
}

/// A unit that is in a group now.
struct Member {
    waiting: Waiting,
    routed: Vec<Option<Legs>>,
    statements: Vec<Statement>,
}

/// What is to be done with the units of a group that is not in.
enum Next {
    /// All that were in it, again.
    Again,
    /// Again, and each so that it can be undone.
    Apart,
    /// All of them alone.
    Alone,
    /// This one alone, and the others again.
    Without(usize),
    /// All of them failed for this reason.
    Failed(Error),
    /// There is only one, and it ended so.
    Ended(Result<Committed, CommitError>),
}

impl Groups {
    pub(super) fn new(line: Arc<Line>) -> Self {
        Self { line, prepared: Prepared::default(), shunned: Shunned::default() }
    }

    /// Takes a group from the head of `waiting` and ends it, or puts it back to be tried again.
    pub(super) async fn end_some(&mut self, core: &Arc<Core>, waiting: &mut VecDeque<Waiting>) {
        let group = self.select(waiting);
        let connected = tokio::time::timeout(PATIENCE, self.line.connected()).await;
        let connected = connected.unwrap_or_else(|_| Err(away(core)));
        let again = match connected {
            Ok(connected) => self.end(core, &connected, group).await,
            Err(error) => {
                let store = |unit: Waiting| unit.ended(Err(CommitError::Store(error.clone())));
                group.into_iter().for_each(store);
                Vec::new()
            }
        };
        for mut unit in again.into_iter().rev() {
            unit.tries += 1;
            match unit.tries < TRIES_MAX {
                true => waiting.push_front(unit),
                false => unit.alone(),
            }
        }
    }

    fn select(&self, waiting: &mut VecDeque<Waiting>) -> Vec<Waiting> {
        let mut group = Vec::new();
        let (mut bytes, mut conditions) = (0, 0);
        while group.len() < UNITS_MAX && bytes < BYTES_MAX && conditions < CONDITIONS_MAX {
            let Some(unit) = waiting.pop_front() else { break };
            if unit.reply.is_closed() {
                // Whoever has given up is told that it may be in; so it need not be.
                continue;
            }
            if self.is_shunned(&unit) {
                unit.alone();
                continue;
            }
            if unit.work.conditions.len() > CONDITIONS_MAX || unit.work.is_refused_twice() {
                // The limits of a group are not made for it.
                unit.alone();
                continue;
            }
            bytes += unit.work.bytes();
            conditions += unit.work.conditions.len();
            group.push(unit);
        }
        group
    }

    /// Answers the units that have to be tried again.
    async fn end(
        &mut self,
        core: &Arc<Core>,
        connected: &Arc<Connected>,
        group: Vec<Waiting>,
    ) -> Vec<Waiting> {
        let routes = core.routes();
        let calls = match calls(connected, &group).await {
            Ok(calls) => calls,
            Err(error) if !is_certain(&error) => return self.lost(group),
            Err(error) => {
                let error = explained(core, failed(doing(core), &error)).await;
                let store = |unit: Waiting| unit.ended(Err(CommitError::Store(error.clone())));
                group.into_iter().for_each(store);
                return Vec::new();
            }
        };
        let mut again = Vec::new();
        let mut members = Vec::with_capacity(group.len());
        for waiting in group {
            let routed = waiting.work.routed(&routes);
            if self.is_shunned(&waiting) || !waiting.work.is_plain(&routed) {
                waiting.alone();
                continue;
            }
            match self.prepare(connected, waiting).await {
                Ok((waiting, statements)) => members.push(Member { waiting, routed, statements }),
                Err(Some(waiting)) => again.push(waiting),
                Err(None) => {}
            }
        }
        if !members.is_empty() {
            again.extend(self.together(core, connected, &routes, &calls, members).await);
        }
        again
    }

    /// Prepares a unit's statements. A unit that cannot be is answered, or has to be tried again.
    async fn prepare(
        &mut self,
        connected: &Arc<Connected>,
        waiting: Waiting,
    ) -> Result<(Waiting, Vec<Statement>), Option<Waiting>> {
        let mut statements = Vec::with_capacity(waiting.work.statements.len());
        for queued in &waiting.work.statements {
            let error = match self.prepared.get(connected, &queued.shape).await {
                Ok(statement) => {
                    statements.push(statement);
                    continue;
                }
                Err(Preparing::Takes(takes)) => {
                    let failure = Failure::permanent(format!(
                        "failed to run {}: it takes {takes} parameters, and {} were given",
                        queued.shown(),
                        queued.parameters.len()
                    ));
                    waiting.ended(Err(CommitError::Handler(failure)));
                    return Err(None);
                }
                Err(Preparing::Failed(error)) => error,
            };
            let Some(state) = error.code().filter(|_| is_certain(&error)) else {
                self.line.hang_up();
                return Err(Some(waiting));
            };
            match cause(At::Statement { unit: 0, nth: 0 }, state.code()) {
                Cause::Statement | Cause::Outdated => {
                    let ended = statement_failed(&queued.shape.sql, &words(&error));
                    waiting.ended(Err(ended));
                }
                cause => {
                    if cause == Cause::TooLong {
                        // Its table is locked, for others as well.
                        self.shunned.add(queued.shape.sql.clone(), Instant::now());
                    }
                    waiting.alone();
                }
            }
            return Err(None);
        }
        Ok((waiting, statements))
    }

    async fn together(
        &mut self,
        core: &Arc<Core>,
        connected: &Arc<Connected>,
        routes: &Routes,
        calls: &Calls,
        mut members: Vec<Member>,
    ) -> Vec<Waiting> {
        let runs = self.runs(core, connected, &members).await;
        let units: Vec<Ready<'_>> = members.iter().map(Member::ready).collect();
        let attempt = Attempt { core, connected, routes, calls, units: &units };
        let next = match attempt.together(runs).await {
            Err(error) => Next::Failed(error),
            Ok(Ended::In(wakes)) => {
                wake(core, members.iter(), wakes);
                let done = |member: Member| member.waiting.ended(Ok(Committed::Done));
                members.into_iter().for_each(done);
                return Vec::new();
            }
            Ok(Ended::Unknown(error)) => {
                self.line.hang_up();
                unknown(core, members, &error);
                return Vec::new();
            }
            Ok(Ended::Lost(error)) => {
                tracing::debug!(%error, "to be committed again");
                self.line.hang_up();
                Next::Again
            }
            Ok(Ended::Failed(at, error)) => self.judge(core, connected, &members, at, &error).await,
        };
        match next {
            Next::Again => waiting(members),
            Next::Apart => self.apart(core, connected, routes, calls, members).await,
            Next::Alone => {
                members.into_iter().for_each(|member| member.waiting.alone());
                Vec::new()
            }
            Next::Without(unit) => {
                members.remove(unit).waiting.alone();
                waiting(members)
            }
            Next::Failed(error) => {
                let failed = |member: Member| {
                    member.waiting.ended(Err(CommitError::Store(error.clone())));
                };
                members.into_iter().for_each(failed);
                Vec::new()
            }
            Next::Ended(ended) => {
                if let Some(member) = members.pop() {
                    member.waiting.ended(ended);
                }
                Vec::new()
            }
        }
    }

    /// Members that follow one another and say the same are run together.
    async fn runs<'m>(
        &mut self,
        core: &Core,
        connected: &Arc<Connected>,
        members: &'m [Member],
    ) -> Vec<Run<'m>> {
        let (mut runs, mut first) = (Vec::new(), 0);
        if core.is_pooled {
            // Their functions would be in other sessions.
            return runs;
        }
        for alike in members.chunk_by(Member::says_the_same) {
            for run in alike.chunks(RUN_MAX) {
                let (Member { waiting, statements, .. }, count) = (&run[0], run.len());
                let queued = &waiting.work.statements;
                let nonce = core.settings.entropy.bits() as u64;
                if count >= RUN_MIN
                    && !queued.is_empty()
                    && let Some(many) =
                        self.prepared.many(connected, queued, statements, nonce).await
                {
                    let units = run.iter().map(|member| &member.waiting.work.statements[..]);
                    runs.push(Run { first, count, many, columns: columns(units, statements) });
                }
                first += count;
            }
        }
        runs
    }

    /// What to do about the first fault of a group.
    async fn judge(
        &mut self,
        core: &Arc<Core>,
        connected: &Arc<Connected>,
        members: &[Member],
        at: At,
        error: &tokio_postgres::Error,
    ) -> Next {
        if at == At::Commit {
            // One that was cancelled leaves its transaction open.
            let _ = connected.run("ROLLBACK").await;
            return Next::Alone;
        }
        let state = error.code().map_or("", |state| state.code());
        if let At::Run { first } = at
            && is_of_the_run(state)
        {
            self.prepared.one_by_one(&members[first].waiting.work.statements);
        }
        match (cause(at, state), at) {
            (Cause::TooLong, At::Statement { unit, nth }) => {
                self.shun(&members[unit], nth);
                Next::Without(unit)
            }
            (Cause::Outdated, At::Statement { unit, nth }) => {
                self.prepared.forget(&members[unit].waiting.work.statements[nth].shape);
                Next::Again
            }
            (Cause::Outdated, _) => {
                self.line.hang_up();
                Next::Again
            }
            (Cause::Stale, _) => self.reload(core, connected).await,
            (Cause::Servers, _) => Next::Failed(explained(core, failed(doing(core), error)).await),
            (Cause::Refused | Cause::Statement, _) if members.len() == 1 => {
                Next::Ended(verdict(core, &members[0], at, error))
            }
            _ if members.len() == 1 => Next::Alone,
            _ => Next::Apart,
        }
    }

    /// Each member for itself, in one transaction or a few. Nobody is told before the commit: what is wrong
    /// with one may be so because of another.
    async fn apart(
        &mut self,
        core: &Arc<Core>,
        connected: &Arc<Connected>,
        routes: &Routes,
        calls: &Calls,
        mut members: Vec<Member>,
    ) -> Vec<Waiting> {
        let mut again = Vec::new();
        while !members.is_empty() {
            let behind = members.split_off(members.len().min(APART_MAX));
            let these = std::mem::replace(&mut members, behind);
            let units: Vec<Ready<'_>> = these.iter().map(Member::ready).collect();
            let attempt = Attempt { core, connected, routes, calls, units: &units };
            match attempt.apart().await {
                Ok(Ended::In(faults)) => {
                    let ended = faults.iter().map(Option::is_none);
                    let is_in = these.iter().zip(ended).filter(|one| one.1).map(|one| one.0);
                    let wakes = is_in.clone().any(|member| member.waiting.work.is_scheduling());
                    wake(core, is_in, wakes);
                    for (member, fault) in these.into_iter().zip(faults) {
                        again.extend(self.end_apart(core, connected, member, fault).await);
                    }
                }
                Ok(Ended::Failed(..)) => {
                    let _ = connected.run("ROLLBACK").await;
                    these.into_iter().for_each(|member| member.waiting.alone());
                }
                Ok(Ended::Unknown(error)) => {
                    self.line.hang_up();
                    unknown(core, these, &error);
                }
                Ok(Ended::Lost(error)) => {
                    tracing::debug!(%error, "to be committed again");
                    self.line.hang_up();
                    again.extend(waiting(these));
                }
                Err(error) => {
                    let store = |member: Member| {
                        member.waiting.ended(Err(CommitError::Store(error.clone())));
                    };
                    these.into_iter().for_each(store);
                }
            }
        }
        again
    }

    /// One member of a group that is in: with it, or for this fault without it. Answers it, if it has to
    /// be tried again.
    async fn end_apart(
        &mut self,
        core: &Arc<Core>,
        connected: &Arc<Connected>,
        member: Member,
        fault: Option<(At, tokio_postgres::Error)>,
    ) -> Option<Waiting> {
        let Some((at, error)) = fault else {
            member.waiting.ended(Ok(Committed::Done));
            return None;
        };
        let state = error.code().map_or("", |state| state.code());
        match (cause(at, state), at) {
            (Cause::Refused | Cause::Statement, _) => {
                let verdict = verdict(core, &member, at, &error);
                member.waiting.ended(verdict);
                None
            }
            (Cause::Servers, _) => {
                let error = explained(core, failed(doing(core), &error)).await;
                member.waiting.ended(Err(CommitError::Store(error)));
                None
            }
            (Cause::Outdated, At::Statement { nth, .. }) => {
                self.prepared.forget(&member.waiting.work.statements[nth].shape);
                Some(member.waiting)
            }
            (Cause::Stale, _) => {
                // If it fails, the next attempt tells.
                let _ = self.reload(core, connected).await;
                Some(member.waiting)
            }
            (cause, at) => {
                if let (Cause::TooLong, At::Statement { nth, .. }) = (cause, at) {
                    self.shun(&member, nth);
                }
                member.waiting.alone();
                None
            }
        }
    }

    async fn reload(&self, core: &Core, connected: &Connected) -> Next {
        match core.reload(connected).await {
            Ok(_) => Next::Again,
            Err(error) if error.is_transient() => {
                self.line.hang_up();
                Next::Again
            }
            Err(error) => Next::Failed(error),
        }
    }

    fn is_shunned(&self, unit: &Waiting) -> bool {
        let now = Instant::now();
        unit.work.statements.iter().any(|one| self.shunned.has(&one.shape.sql, now))
    }

    fn lost(&self, group: Vec<Waiting>) -> Vec<Waiting> {
        self.line.hang_up();
        group
    }

    fn shun(&mut self, member: &Member, nth: usize) {
        let statement = &member.waiting.work.statements[nth];
        self.shunned.add(statement.shape.sql.clone(), Instant::now());
    }
}

async fn calls(connected: &Connected, group: &[Waiting]) -> Result<Calls, tokio_postgres::Error> {
    let conclude = connected.prepared(CONCLUDE).await?;
    let schedule = match group.iter().any(|unit| unit.work.is_scheduling()) {
        true => Some(connected.prepared(SCHEDULE).await?),
        false => None,
    };
    Ok(Calls { conclude, schedule })
}

impl Member {
    fn says_the_same(&self, other: &Self) -> bool {
        let (these, those) = (&self.waiting.work.statements, &other.waiting.work.statements);
        these.iter().map(|one| &one.shape).eq(those.iter().map(|one| &one.shape))
    }

    fn ready(&self) -> Ready<'_> {
        Ready { work: &self.waiting.work, routed: &self.routed, statements: &self.statements }
    }
}

/// Whether units may fail in a run that would not fail one by one: it takes longer than each, and its
/// functions may be gone. What is wrong with the values of one is wrong in either way.
fn is_of_the_run(state: &str) -> bool {
    const OF_VALUES: [&str; 5] = ["22", "23", "40", "55", "P0"];
    !OF_VALUES.iter().any(|class| state.starts_with(class))
}

fn waiting(members: Vec<Member>) -> Vec<Waiting> {
    members.into_iter().map(|member| member.waiting).collect()
}

/// How a unit ended whose statement is wrong, or whose conditions did not hold.
fn verdict(
    core: &Core,
    member: &Member,
    at: At,
    error: &tokio_postgres::Error,
) -> Result<Committed, CommitError> {
    let work = &member.waiting.work;
    if let At::Statement { nth, .. } = at {
        let sql = &work.statements[nth].shape.sql;
        return Err(statement_failed(sql, &words(error)));
    }
    let detail = Detail::read(error.as_db_error().and_then(|error| error.detail()));
    let asked = Asked::of(&core.database, &work.conditions).map_err(CommitError::Store)?;
    match detail {
        Some(Detail { lost, known, changed }) => {
            Ok(Committed::Refused(asked.refused(&lost, &known, &changed)))
        }
        None => Err(CommitError::Store(failed(doing(core), error))),
    }
}

/// Nobody knows whether these are in.
fn unknown(core: &Core, members: Vec<Member>, error: &tokio_postgres::Error) {
    let error = failed(doing(core), error);
    for member in members {
        member.waiting.ended(Err(CommitError::Unknown(error.clone())));
    }
}

/// These are in: whoever reads what they have written has something to read, and if it `wakes`, whoever fires
/// schedules has something to do earlier.
fn wake<'m>(core: &Arc<Core>, members: impl Iterator<Item = &'m Member>, wakes: bool) {
    let (mut queues, mut unrouted) = (BTreeSet::new(), BTreeSet::new());
    for Member { waiting, routed, .. } in members {
        queues.extend(routed.iter().flatten().flatten().map(|queue| queue.id));
        if waiting.work.messages.is_for_outbox() {
            queues.insert(OUTBOX);
        }
        unrouted.append(&mut waiting.work.unrouted(routed));
    }
    queues.extend(wakes.then_some(SCHEDULES));
    core.woken_by_commit(queues);
    core.warn_unrouted(unrouted);
}

fn doing(core: &Core) -> String {
    format!("commit in {}", core.target)
}

fn away(core: &Core) -> Error {
    let why = format!("no connection within {} s", PATIENCE.as_secs());
    Error::new(ErrorKind::Unavailable, doing(core)).because(why)
}
