//! A unit of work comes to its end: all of it, or nothing.

use super::conclude::{Answer, CONCLUDE, CONCLUDE_ALONE, Call};
use super::conditions::Asked;
use super::failure;
use super::messages::{Messages, Outward};
use super::steps::{self, StepError, Stepped, Within};
use super::tx::{Parts, PostgresTx, Transaction, open};
use crate::open::{Core, OUTBOX};
use crate::queue::{Legs, Routes};
use crate::send::{Columns, Placed, Plan, Step};
use sqlx::postgres::PgConnection;
use std::collections::BTreeSet;
use std::sync::Arc;
use tramline_core::store::{CommitError, Committed, Condition};
use tramline_core::transport::{Destination, Outgoing};
use tramline_core::{Error, ErrorKind, Failure};

/// What is to be committed.
struct Unit<'u> {
    core: &'u Arc<Core>,
    asked: Asked<'u>,
    messages: Messages,
}

/// How a unit ended, short of an error.
enum End {
    Refused(Committed),
    /// It is in, and these queues have more.
    Done(BTreeSet<i32>),
    /// One call is not enough: it wants a transaction that is held open.
    Longer,
}

/// How often queues may be declared while a unit ends.
const DECLARED_MAX: usize = 10;

/// Ends a handler's transaction, or makes one for what is left to do if the handler had none.
pub(super) async fn commit(
    core: &Arc<Core>,
    tx: PostgresTx,
    conditions: &[Condition],
    buffered: Vec<Outgoing>,
) -> Result<Committed, CommitError> {
    let Parts { scope, opened, published } = tx.into_parts();
    let asked = Asked::of(&core.database, conditions).map_err(CommitError::Store)?;
    let outgoing = published.into_iter().chain(buffered);
    let messages = Messages::of(&scope, outgoing).map_err(CommitError::Handler)?;
    let unit = Unit { core, asked, messages };
    let end = match opened {
        Some(transaction) => unit.end_in(transaction).await?,
        None if unit.is_empty() => return Ok(Committed::Done),
        None => match unit.end_alone().await? {
            End::Longer => {
                let transaction = open(core).await.map_err(CommitError::Store)?;
                unit.end_in(transaction).await?
            }
            end => end,
        },
    };
    match end {
        End::Refused(refused) => Ok(refused),
        End::Done(queues) => {
            core.woken_by_commit(queues);
            Ok(Committed::Done)
        }
        End::Longer => Err(CommitError::Store(unit.outpaced())),
    }
}

impl Unit<'_> {
    fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.messages.is_empty()
    }

    fn doing(&self) -> String {
        format!("commit in {}", self.core.target)
    }

    /// Queues were declared again and again.
    fn outpaced(&self) -> Error {
        Error::new(ErrorKind::Unavailable, self.doing())
            .because("queues are being declared all the time")
    }

    /// In one call, which is a transaction of its own.
    async fn end_alone(&self) -> Result<End, CommitError> {
        let acquired = self.core.pool().acquire().await;
        let mut connection =
            acquired.map_err(|error| CommitError::Store(failure::failed(self.doing(), &error)))?;
        let mut routes = Routing::remembered(self.core);
        for _ in 0..DECLARED_MAX {
            let routed = self.routed(&routes.routes);
            let plan = Plan::of(self.messages.for_queues(), &routed);
            if let Some((to, placed)) = self.first_refused(&plan) {
                if routes.is_fresh {
                    return Err(refused(to, placed));
                }
                routes = Routing::read(self.core, &mut connection)
                    .await
                    .map_err(|error| CommitError::Store(failure::failed(self.doing(), &error)))?;
                continue;
            }
            let nothing = Columns::default();
            let rows = match &plan.steps[..] {
                [] => &nothing,
                [Step::Put(columns)] => columns,
                _ => return Ok(End::Longer),
            };
            let outward = self.messages.for_outbox();
            let call = self.call(&self.asked, &routes.routes, rows, &outward);
            match call.run(CONCLUDE_ALONE, &mut connection).await {
                Ok(answer) if answer.is_stale => {
                    routes = Routing::read(self.core, &mut connection).await.map_err(|error| {
                        CommitError::Store(failure::failed(self.doing(), &error))
                    })?;
                }
                Ok(answer) => return Ok(self.judged(&answer, &routed)),
                Err(error) => return Err(failure::alone(self.core, self.doing(), &error).await),
            }
        }
        Err(CommitError::Store(self.outpaced()))
    }

    /// In a transaction that is open.
    async fn end_in(&self, mut transaction: Transaction) -> Result<End, CommitError> {
        match self.carry_out(&mut transaction).await {
            Ok(End::Done(queues)) => match transaction.commit().await {
                Ok(()) => Ok(End::Done(queues)),
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
        let mut routes = Routing::remembered(self.core);
        for _ in 0..DECLARED_MAX {
            let routed = self.routed(&routes.routes);
            let plan = Plan::of(self.messages.for_queues(), &routed);
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
            let outward = self.messages.for_outbox();
            let call = self.call(&self.asked, &routes.routes, rows, &outward);
            let answer = match call.run(CONCLUDE, connection).await {
                Ok(answer) => answer,
                Err(error) => return Err(failure::inside(self.core, self.doing(), &error).await),
            };
            if answer.is_stale {
                routes = self.read_routes(connection).await?;
                continue;
            }
            let end = self.judged(&answer, &routed);
            if let End::Done(_) = end {
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
        let is_sending = !self.messages.for_queues().is_empty();
        let topology = is_sending.then_some(routes.version);
        Call { now: self.core.now(), asked, topology, rows, outward }
    }

    fn routed(&self, routes: &Routes) -> Vec<Option<Legs>> {
        let parcels = self.messages.for_queues().iter();
        parcels.map(|parcel| routes.legs(&parcel.to, &parcel.envelope)).collect()
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
        &self.messages.for_queues()[index].to
    }

    fn judged(&self, answer: &Answer, routed: &[Option<Legs>]) -> End {
        let refused = self.asked.refused(&answer.lost, &answer.known);
        if !refused.is_empty() {
            return End::Refused(Committed::Refused(refused));
        }
        let queues = routed.iter().flatten().flatten().map(|queue| queue.id);
        let outbox = (!self.messages.for_outbox().is_empty()).then_some(OUTBOX);
        End::Done(queues.chain(outbox).collect())
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
