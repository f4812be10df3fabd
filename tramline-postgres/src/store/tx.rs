//! What a handler in a transaction works with.

use super::failure::{failed, is_lost};
use super::queued::{Parameters, Statement, run_all};
use crate::open::Core;
use sqlx::postgres::PgConnection;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use tramline_core::compose::{Scope, Target};
use tramline_core::draft::IntoDraft;
use tramline_core::name::QueueName;
use tramline_core::store::CommitError;
use tramline_core::transport::Outgoing;
use tramline_core::{Error, ErrorKind, Failure, Result};

/// A transaction of `sqlx` on a connection of its own.
pub(super) type Transaction = sqlx::Transaction<'static, sqlx::Postgres>;

/// A handler's transaction. It begins when the handler first asks for its
/// [`connection`](Self::connection), and is committed, with the ack and with what was published, when the
/// handler has succeeded. Dropped uncommitted, it is rolled back.
///
/// ```no_run
/// # use tramline_core::{BoxError, Failure, Message};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] struct PaymentTaken { order_id: i64 }
/// # impl Message for PaymentTaken { const NAME: &'static str = "payments.taken"; }
/// # use tramline_postgres::{PostgresTx, sqlx};
/// # async fn charge(tx: &mut PostgresTx, order_id: i64) -> Result<(), Failure> {
/// sqlx::query("UPDATE orders SET paid = true WHERE id = $1")
///     .bind(order_id)
///     .execute(tx.connection().await?)
///     .await?;
/// tx.publish(&PaymentTaken { order_id })?;
/// # Ok(())
/// # }
/// ```
pub struct PostgresTx {
    core: Arc<Core>,
    scope: Scope,
    opened: Option<Transaction>,
    queued: Vec<Statement>,
    /// Some queued statement has not run to its end.
    is_cut: bool,
    published: Vec<Outgoing>,
}

/// What a transaction leaves for its end.
pub(super) struct Parts {
    pub(super) scope: Scope,
    pub(super) opened: Option<Transaction>,
    /// What is still to be run.
    pub(super) queued: Vec<Statement>,
    pub(super) published: Vec<Outgoing>,
}

impl PostgresTx {
    pub(super) fn new(core: Arc<Core>, scope: Scope) -> Self {
        let (queued, published) = (Vec::new(), Vec::new());
        Self { core, scope, opened: None, queued, is_cut: false, published }
    }

    /// The connection inside the transaction, for any query of `sqlx`. The first call begins the
    /// transaction, once one of [`handlers_max`](crate::PostgresOptions::handlers_max) connections is
    /// free.
    ///
    /// Savepoints are welcome (`connection.begin()`), and so is `SET TRANSACTION`, at first. Whoever ends
    /// the transaction itself, by `COMMIT` or `ROLLBACK`, fails the handler. After a statement has
    /// failed, PostgreSQL refuses all others of its transaction or savepoint, and a handler that says
    /// nothing of it fails nevertheless.
    ///
    /// Statements that were queued by [`write`](Self::write) are run first. Cancel-safe, except for that:
    /// dropped while it runs them, it leaves a transaction that cannot go on, and fails the handler.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](tramline_core::ErrorKind::Unavailable): the server cannot be reached, or
    /// no connection became free in half a minute. A queued statement has failed.
    pub async fn connection(&mut self) -> Result<&mut PgConnection> {
        if self.is_cut {
            return Err(cut(&self.core));
        }
        let mut transaction = match self.opened.take() {
            Some(transaction) => transaction,
            None => open(&self.core).await?,
        };
        if self.queued.is_empty() {
            return Ok(self.opened.insert(transaction));
        }
        self.is_cut = true;
        let ran = run_all(&self.queued, &mut transaction).await;
        self.queued.clear();
        // Without what has failed it must not commit, whatever the handler makes of the error.
        self.is_cut = ran.is_err();
        let transaction = self.opened.insert(transaction);
        ran.map(|()| &mut **transaction).map_err(|error| error_of(&self.core, error))
    }

    /// Queues a statement, to be run when the handler has succeeded, behind what was queued before; in one
    /// transaction with the ack and with what is published. The transaction is that of
    /// [`connection`](Self::connection), if there is one, and the next call of that runs what was queued
    /// until then. If there is none, handlers that end at the same time share one: they cost one commit
    /// together, several times less than each its own.
    ///
    /// `parameters` is a tuple of what `sqlx` can bind, or else: [`Parameters`]. Nobody sees what the
    /// statement answers. If it fails, this message alone fails. It may be run several times, of which one
    /// is kept.
    ///
    /// For statements that are quick: a shared transaction gives one up that waits 100 ms for a lock or runs
    /// for half a second, and runs it in a transaction of its own; others that have its text are not run
    /// with others for a second. Handlers that share a transaction do not wait for each other's locks, see
    /// each other's rows, and have the same `now()`. What sets something for its session or transaction
    /// belongs into `connection()`.
    ///
    /// ```no_run
    /// # use tramline_core::{Failure, Message};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)] struct PaymentTaken { order_id: i64 }
    /// # impl Message for PaymentTaken { const NAME: &'static str = "payments.taken"; }
    /// # use tramline_postgres::PostgresTx;
    /// fn charge(tx: &mut PostgresTx, order_id: i64, cents: i64) -> Result<(), Failure> {
    ///     tx.write("INSERT INTO ledger (order_id, cents) VALUES ($1, $2)", (order_id, cents))?;
    ///     tx.write("UPDATE orders SET paid = now() WHERE id = $1", (order_id,))?;
    ///     tx.publish(&PaymentTaken { order_id })
    /// }
    /// ```
    ///
    /// # Errors
    /// A permanent failure: the statement is none of those that read or write rows, such as `COMMIT`; or a
    /// value cannot be encoded.
    pub fn write(
        &mut self,
        sql: impl Into<Cow<'static, str>>,
        parameters: impl Parameters,
    ) -> Result<(), Failure> {
        self.queued.push(Statement::new(sql.into(), parameters)?);
        Ok(())
    }

    /// Publishes an event to its subscribers. It leaves only if the transaction commits.
    ///
    /// # Errors
    /// A permanent failure: the message cannot be encoded.
    pub fn publish<'m>(&mut self, message: impl IntoDraft<'m>) -> Result<(), Failure> {
        self.put(self.scope.compose(message, Target::Subscribers)?)
    }

    /// Sends a command to one queue. It leaves only if the transaction commits. Whether there is such a
    /// queue shows at the commit, or when a relay sends it.
    ///
    /// # Errors
    /// As [`publish`](Self::publish), and a permanent failure for a name that is not allowed.
    pub fn send<'m>(&mut self, queue: &str, message: impl IntoDraft<'m>) -> Result<(), Failure> {
        let queue = QueueName::new(queue).map_err(Failure::permanent)?;
        self.put(self.scope.compose(message, Target::Queue(queue))?)
    }

    /// Publishes to an exchange of another broker. It leaves only if the transaction commits. Where this
    /// database is the transport, which has no exchanges, the commit fails for good.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_to_exchange<'m>(
        &mut self,
        exchange: impl Into<String>,
        routing_key: impl Into<String>,
        message: impl IntoDraft<'m>,
    ) -> Result<(), Failure> {
        let to = Target::Foreign { exchange: exchange.into(), routing_key: routing_key.into() };
        self.put(self.scope.compose(message, to)?)
    }

    fn put(&mut self, outgoing: Outgoing) -> Result<(), Failure> {
        self.published.push(outgoing);
        Ok(())
    }

    /// # Errors
    /// The transaction was lost.
    pub(super) fn into_parts(self) -> Result<Parts, CommitError> {
        let Self { core, scope, opened, queued, is_cut, published } = self;
        match is_cut {
            true => Err(CommitError::Handler(Failure::retryable(cut(&core)))),
            false => Ok(Parts { scope, opened, queued, published }),
        }
    }
}

/// The error of a handler that gave up what it cannot do without.
fn cut(core: &Core) -> Error {
    let doing = format!("go on with a transaction in {}", core.target);
    let why = "a queued statement has failed, or a call of `connection()` was dropped in the middle of one";
    Error::new(ErrorKind::Refused, doing).because(why)
}

fn error_of(core: &Core, error: CommitError) -> Error {
    match error {
        CommitError::Store(error) | CommitError::Unknown(error) => error,
        CommitError::Handler(failure) => failure.find::<Error>().cloned().unwrap_or_else(|| {
            let doing = format!("run queued statements in {}", core.target);
            Error::new(ErrorKind::Refused, doing).because(failure.to_string())
        }),
    }
}

/// Begins a transaction, in which it is noted that it is ours.
pub(super) async fn open(core: &Core) -> Result<Transaction> {
    // In one round trip. The setting ends with the transaction, whoever ends it.
    const BEGIN: &str = "BEGIN; SET LOCAL tramline.handler = 'open'";
    let pool = core.pool();
    // Of connections that broke while nobody used them, each is found out once.
    for _ in 0..pool.size() {
        match pool.begin_with(BEGIN).await {
            Err(error) if is_lost(&error) => {}
            begun => return begun.map_err(|error| refused(core, &error)),
        }
    }
    pool.begin_with(BEGIN).await.map_err(|error| refused(core, &error))
}

fn refused(core: &Core, error: &sqlx::Error) -> Error {
    failed(format!("begin a transaction in {}", core.target), error)
}

impl fmt::Debug for PostgresTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresTx")
            .field("is_open", &self.opened.is_some())
            .field("queued", &self.queued.len())
            .field("published", &self.published.len())
            .finish()
    }
}
