//! A unit of work comes to its end: all of it, or nothing.

use super::conclude::{Answer, Call, Concluded};
use super::conditions::Asked;
use super::failure;
use super::group::{Reply, Work};
use super::messages::{Messages, Outward};
use super::queued::run_all;
use super::steps::{self, StepError, Stepped, Within};
use super::tx::{Parts, PostgresTx, Transaction, open};
use crate::open::{Core, OUTBOX, SCHEDULES};
use crate::queue::{Legs, Routes};
use crate::send::{Columns, Placed, Plan, Step};
use sqlx::postgres::PgConnection;
use std::collections::BTreeSet;
use std::sync::Arc;
use tramline_core::store::{CommitError, Committed, Condition};
use tramline_core::transport::{Destination, Outgoing};
use tramline_core::{Error, ErrorKind, Failure};

/// What is to be committed in a transaction of its own.
struct Unit<'u> {
    core: &'u Arc<Core>,
    work: &'u Work,
    asked: Asked<'u>,
}

/// How a unit ended, short of an error.
enum End {
    Refused(Committed),
    Done {
        /// These have more.
        queues: BTreeSet<i32>,
        /// Nobody gets these.
        unrouted: BTreeSet<String>,
    },
}

/// How often queues may be declared while a unit ends.
const DECLARED_MAX: usize = 10;

/// Ends a handler's transaction; if the handler had none, together with what else is ending just now.
pub(super) async fn commit(
    core: &Arc<Core>,
    tx: PostgresTx,
    conditions: Vec<Condition>,
    buffered: Vec<Outgoing>,
) -> Result<Committed, CommitError> {
    core.refuse_when_outdated().map_err(CommitError::Store)?;
    let Parts { scope, opened, queued, published } = tx.into_parts()?;
    let outgoing = published.into_iter().chain(buffered);
    let messages = Messages::of(&scope, outgoing).map_err(CommitError::Handler)?;
    let work = Work { statements: queued, conditions, messages };
    let asked = || Asked::of(&core.database, &work.conditions).map_err(not_asked);
    if let Some(transaction) = opened {
        return Unit { core, work: &work, asked: asked()? }.end(transaction).await;
    }
    asked()?;
    if work.is_empty() {
        return Ok(Committed::Done);
    }
    let work = match core.grouping.end(core, work).await {
        Reply::Ended(ended) => return ended,
        Reply::Alone(work) => work,
    };
    let asked = Asked::of(&core.database, &work.conditions).map_err(not_asked)?;
    let transaction = open(core).await.map_err(CommitError::Store)?;
    Unit { core, work: &work, asked }.end(transaction).await
}

impl Unit<'_> {
    async fn end(&self, transaction: Transaction) -> Result<Committed, CommitError> {
        match self.end_in(transaction).await? {
            End::Refused(refused) => Ok(refused),
            End::Done { queues, unrouted } => {
                self.core.woken_by_commit(queues);
                self.core.warn_unrouted(unrouted);
                Ok(Committed::Done)
            }
        }
    }

    fn doing(&self) -> String {
        format!("commit in {}", self.core.target)
    }

    /// Queues were declared again and again.
    fn outpaced(&self) -> Error {
        Error::new(ErrorKind::Unavailable, self.doing())
            .because("queues are being declared all the time")
    }

    /// In a transaction that is open.
    async fn end_in(&self, mut transaction: Transaction) -> Result<End, CommitError> {
        match self.carry_out(&mut transaction).await {
            Ok(done @ End::Done { .. }) => match transaction.commit().await {
                Ok(()) => Ok(done),
                Err(error) => Err(failure::at_commit(self.doing(), &error)),
            },
            not_done => {
                if let Err(error) = transaction.rollback().await {
                    // Its connection has ended, and the transaction with it.
                    tracing::debug!(%error, "not rolled back");
                }
                not_done
            }
        }
    }

    async fn carry_out(&self, connection: &mut PgConnection) -> Result<End, CommitError> {
        run_all(&self.work.statements, connection).await?;
        let mut routes = Routing::remembered(self.core);
        for _ in 0..DECLARED_MAX {
            let routed = self.work.routed(&routes.routes);
            let plan = Plan::of(self.work.messages.for_queues(), &routed);
            if let Some((to, placed)) = self.first_refused(&plan) {
                if routes.is_fresh {
                    return Err(refused(to, placed));
                }
                routes = self.read_routes(connection).await?;
                continue;
            }
            let nothing = Columns::default();
            let (rows, rest) = match &plan.steps[..] {
                [Step::Put(columns), rest @ ..] => (columns, rest),
                rest => (&nothing, rest),
            };
            let outward = self.work.messages.for_outbox();
            let call = self.call(&self.asked, &routes.routes, rows, &outward);
            let answer = match call.run(connection).await {
                Ok(answer) => answer,
                Err(error) => return Err(failure::inside(self.core, self.doing(), &error).await),
            };
            if answer.is_stale {
                routes = self.read_routes(connection).await?;
                continue;
            }
            let concluded = Concluded::of(&self.asked.changes, connection).await;
            let concluded = match concluded {
                Ok(concluded) => concluded,
                Err(error) => return Err(failure::inside(self.core, self.doing(), &error).await),
            };
            let end = self.judged(&answer, &concluded, &routed);
            if let End::Done { .. } = end {
                self.take(rest, &routes.routes, connection).await?;
            }
            return Ok(end);
        }
        Err(CommitError::Store(self.outpaced()))
    }

    /// The steps behind the first, in which queues are asked.
    async fn take(
        &self,
        steps: &[Step<'_>],
        routes: &Routes,
        connection: &mut PgConnection,
    ) -> Result<(), CommitError> {
        let mut within = Within { connection, database: None };
        for step in steps {
            match within.step(self.core, routes.version, step).await {
                Ok((Stepped::Done(None | Some((_, Placed::In(_)))), _)) => {}
                Ok((Stepped::Done(Some((index, placed))), _)) => {
                    return Err(refused(self.destination(index), &placed));
                }
                // What was written by the old routes has to be undone.
                Ok((Stepped::Stale, _)) | Err(StepError::Elsewhere) => {
                    return Err(CommitError::Store(self.outpaced()));
                }
                Err(StepError::Sqlx(error)) => {
                    return Err(failure::inside(self.core, self.doing(), &error).await);
                }
            }
        }
        Ok(())
    }

    async fn read_routes(&self, connection: &mut PgConnection) -> Result<Routing, CommitError> {
        match Routing::read(self.core, connection).await {
            Ok(routes) => Ok(routes),
            Err(error) => Err(failure::inside(self.core, self.doing(), &error).await),
        }
    }

    fn call<'c>(
        &'c self,
        asked: &'c Asked<'c>,
        routes: &Routes,
        rows: &'c Columns<'c>,
        outward: &'c Outward<'c>,
    ) -> Call<'c> {
        let is_sending = !self.work.messages.for_queues().is_empty();
        let topology = is_sending.then_some(routes.version);
        Call { now: self.core.now(), asked, topology, rows, outward }
    }

    /// The first message that no queue will have.
    fn first_refused<'p>(&'p self, plan: &'p Plan<'_>) -> Option<(&'p Destination, &'p Placed)> {
        let is_refused = |placed: &&Placed| !matches!(placed, Placed::In(_));
        let placed = plan.placed.iter().enumerate();
        let mut refused =
            placed.filter_map(|(index, placed)| Some((index, placed.as_ref().filter(is_refused)?)));
        refused.next().map(|(index, placed)| (self.destination(index), placed))
    }

    fn destination(&self, index: usize) -> &Destination {
        &self.work.messages.for_queues()[index].to
    }

    fn judged(&self, answer: &Answer, concluded: &Concluded, routed: &[Option<Legs>]) -> End {
        let refused = self.asked.refused(&answer.lost, &answer.known, &concluded.changed);
        if !refused.is_empty() {
            return End::Refused(Committed::Refused(refused));
        }
        let queues = routed.iter().flatten().flatten().map(|queue| queue.id);
        let outbox = self.work.messages.is_for_outbox().then_some(OUTBOX);
        let schedules = concluded.wakes.then_some(SCHEDULES);
        let unrouted = self.work.unrouted(routed);
        End::Done { queues: queues.chain(outbox).chain(schedules).collect(), unrouted }
    }
}

/// What is asked for cannot be: it is so each time, unless it is about the database.
fn not_asked(error: Error) -> CommitError {
    match error.kind() {
        ErrorKind::Misconfigured => CommitError::Store(error),
        _ => CommitError::Handler(Failure::permanent(error)),
    }
}

/// The routes to go by.
struct Routing {
    routes: Arc<Routes>,
    /// They were read for this very purpose: what they do not know is not there.
    is_fresh: bool,
}

impl Routing {
    fn remembered(core: &Core) -> Self {
        Self { routes: core.routes(), is_fresh: false }
    }

    async fn read(core: &Core, connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        Ok(Self { routes: steps::routes(core, connection).await?, is_fresh: true })
    }
}

/// The error of a handler whose message no queue has.
pub(super) fn failure_of(to: &Destination, placed: &Placed) -> Failure {
    match placed {
        // There is room again once others are handled; and a newer program may be on its way.
        Placed::Full(_) | Placed::Unknown(_) => Failure::retryable(placed.error(to)),
        Placed::In(_) | Placed::NoSuchQueue => Failure::permanent(placed.error(to)),
    }
}

fn refused(to: &Destination, placed: &Placed) -> CommitError {
    CommitError::Handler(failure_of(to, placed))
}
