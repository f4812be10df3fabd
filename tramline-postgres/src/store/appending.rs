//! Messages in a transaction that is the user's own.

use super::commit::failure_of;
use super::failure::{explained, failed, is_state};
use super::messages::Messages;
use super::steps::{self, StepError, Stepped, Within, identity};
use super::watch::Watch;
use crate::open::{Core, OUTBOX};
use crate::queue::Parcel;
use crate::send::{Placed, Plan, Step};
use sqlx::postgres::PgConnection;
use std::fmt;
use std::sync::Arc;
use tramline_core::compose::{Scope, Target};
use tramline_core::draft::IntoDraft;
use tramline_core::name::QueueName;
use tramline_core::transport::{Destination, Outgoing};
use tramline_core::{Error, ErrorKind, Failure, Result};

/// The outbox inside of a transaction of `sqlx`: [`PostgresWriter::outbox`](crate::PostgresWriter::outbox)
/// answers one.
pub struct TransactionOutbox<'t> {
    core: Arc<Core>,
    scope: Scope,
    connection: &'t mut PgConnection,
}

/// How often queues may be declared while one message is written.
const DECLARED_MAX: usize = 10;

impl<'t> TransactionOutbox<'t> {
    pub(super) fn new(core: Arc<Core>, scope: Scope, connection: &'t mut PgConnection) -> Self {
        Self { core, scope, connection }
    }

    /// Publishes an event to its subscribers. It leaves only if the transaction commits.
    ///
    /// Dropped, the row may be in the transaction or not: roll back.
    ///
    /// # Errors
    /// A permanent failure if the message cannot be written down, if it is for a queue of this database
    /// that was not declared, or if the transaction is on another database. A retryable one if the
    /// server failed, if a queue is full, or if a newer program has migrated the database
    /// ([`ErrorKind::Outdated`]). After an error of the server, PostgreSQL refuses all else in the
    /// transaction.
    pub async fn publish<'m>(&mut self, message: impl IntoDraft<'m>) -> Result<(), Failure> {
        let outgoing = self.scope.compose(message, Target::Subscribers)?;
        self.append(outgoing).await
    }

    /// Sends a command to one queue. It leaves only if the transaction commits. Whether there is such a
    /// queue on another broker shows when the relay sends it.
    ///
    /// Dropped, the row may be in the transaction or not: roll back.
    ///
    /// # Errors
    /// As [`TransactionOutbox::publish`], and a permanent failure for a name that is not allowed.
    pub async fn send<'m>(
        &mut self,
        queue: &str,
        message: impl IntoDraft<'m>,
    ) -> Result<(), Failure> {
        let queue = QueueName::new(queue).map_err(Failure::permanent)?;
        let outgoing = self.scope.compose(message, Target::Queue(queue))?;
        self.append(outgoing).await
    }

    /// Publishes to an exchange of another broker. It leaves only if the transaction commits; whether
    /// there is such an exchange shows when the relay sends it.
    ///
    /// Dropped, the row may be in the transaction or not: roll back.
    ///
    /// # Errors
    /// As [`TransactionOutbox::publish`], and a permanent failure where this database is the transport.
    pub async fn publish_to_exchange<'m>(
        &mut self,
        exchange: impl Into<String>,
        routing_key: impl Into<String>,
        message: impl IntoDraft<'m>,
    ) -> Result<(), Failure> {
        let to = Target::Foreign { exchange: exchange.into(), routing_key: routing_key.into() };
        let outgoing = self.scope.compose(message, to)?;
        self.append(outgoing).await
    }

    async fn append(&mut self, outgoing: Outgoing) -> Result<(), Failure> {
        let to = outgoing.to.clone();
        let messages = Messages::of(&self.scope, [outgoing])?;
        let written = match messages.for_queues() {
            [parcel, ..] => self.enqueue(parcel).await,
            [] => {
                let appended = self.within().append(&messages.for_outbox()).await;
                appended.map(|xid| (xid, vec![OUTBOX])).map_err(Wrong::Step)
            }
        };
        match written {
            Ok((xid, queues)) => {
                Watch::note(&self.core, xid, queues);
                Ok(())
            }
            Err(wrong) => {
                let failure = self.failure(&to, wrong).await;
                self.scope.tell(&failure);
                Err(failure)
            }
        }
    }

    /// Writes a message into its queues. Answers the transaction's id, and them.
    async fn enqueue(&mut self, parcel: &Parcel) -> Result<(String, Vec<i32>), Wrong> {
        let (mut routes, mut is_fresh) = (self.core.routes(), false);
        for _ in 0..DECLARED_MAX {
            let routed = [routes.legs(&parcel.to, &parcel.envelope)];
            let plan = Plan::of([parcel], &routed);
            let refused = plan.placed.iter().flatten().find(|placed| is_refused(placed));
            match refused {
                Some(placed) if is_fresh => return Err(Wrong::Placed(placed.clone())),
                Some(_) => {}
                None => {
                    if let Some(xid) = self.take(routes.version, &plan.steps).await? {
                        if let [Some(legs)] = &routed[..]
                            && legs.is_empty()
                        {
                            self.core.warn_unrouted([parcel.to.to_string()].into());
                        }
                        let legs = routed.iter().flatten().flatten();
                        return Ok((xid, legs.map(|queue| queue.id).collect()));
                    }
                }
            }
            let read = steps::routes(&self.core, self.connection).await;
            (routes, is_fresh) = (read.map_err(StepError::Sqlx).map_err(Wrong::Step)?, true);
        }
        Err(Wrong::Outpaced)
    }

    /// Takes the step of one message. Answers the transaction's id; nothing if the routes are old.
    async fn take(&mut self, version: i64, steps: &[Step<'_>]) -> Result<Option<String>, Wrong> {
        let core = self.core.clone();
        let mut taken = None;
        for step in steps {
            match self.within().step(&core, version, step).await.map_err(Wrong::Step)? {
                (Stepped::Stale, _) => return Ok(None),
                (Stepped::Done(Some((_, placed))), _) if is_refused(&placed) => {
                    return Err(Wrong::Placed(placed));
                }
                (Stepped::Done(_), xid) => taken = Some(xid),
            }
        }
        Ok(taken)
    }

    fn within(&mut self) -> Within<'_> {
        let database = Some(identity(&self.core.database));
        Within { connection: &mut *self.connection, database }
    }

    async fn failure(&self, to: &Destination, wrong: Wrong) -> Failure {
        let doing = || format!("publish to {to} inside a transaction");
        let elsewhere = |why: String| {
            Failure::permanent(Error::new(ErrorKind::Misconfigured, doing()).because(why))
        };
        let target = &self.core.target;
        match wrong {
            Wrong::Placed(placed) => failure_of(to, &placed),
            Wrong::Outpaced => Failure::retryable(
                Error::new(ErrorKind::Unavailable, doing())
                    .because("queues are being declared all the time"),
            ),
            Wrong::Step(StepError::Elsewhere) => {
                elsewhere(format!("it is on another database than {target}"))
            }
            Wrong::Step(StepError::Sqlx(error)) if is_state(&error, "3F000") => elsewhere(format!(
                "it is on a database without tables of the bus, and not on {target}"
            )),
            Wrong::Step(StepError::Sqlx(error)) => {
                Failure::retryable(explained(&self.core, failed(doing(), &error)).await)
            }
        }
    }
}

/// Why a message was not written.
enum Wrong {
    /// No queue has it.
    Placed(Placed),
    /// Queues were declared again and again.
    Outpaced,
    Step(StepError),
}

fn is_refused(placed: &Placed) -> bool {
    !matches!(placed, Placed::In(_))
}

impl fmt::Debug for TransactionOutbox<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionOutbox").finish_non_exhaustive()
    }
}
