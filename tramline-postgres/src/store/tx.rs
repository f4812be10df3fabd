//! What a handler in a transaction works with.

use super::failure::{failed, is_lost};
use crate::open::Core;
use sqlx::postgres::PgConnection;
use std::fmt;
use std::sync::Arc;
use tramline_core::compose::{Scope, Target};
use tramline_core::draft::IntoDraft;
use tramline_core::name::QueueName;
use tramline_core::transport::Outgoing;
use tramline_core::{Failure, Result};

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
    published: Vec<Outgoing>,
}

/// What a transaction leaves for its end.
pub(super) struct Parts {
    pub(super) scope: Scope,
    pub(super) opened: Option<Transaction>,
    pub(super) published: Vec<Outgoing>,
}

impl PostgresTx {
    pub(super) fn new(core: Arc<Core>, scope: Scope) -> Self {
        Self { core, scope, opened: None, published: Vec::new() }
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
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](tramline_core::ErrorKind::Unavailable): the server cannot be reached, or
    /// no connection became free in half a minute.
    pub async fn connection(&mut self) -> Result<&mut PgConnection> {
        let transaction = match self.opened.take() {
            Some(transaction) => transaction,
            None => open(&self.core).await?,
        };
        Ok(self.opened.insert(transaction))
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

    pub(super) fn into_parts(self) -> Parts {
        let Self { scope, opened, published, .. } = self;
        Parts { scope, opened, published }
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

fn refused(core: &Core, error: &sqlx::Error) -> tramline_core::Error {
    failed(format!("begin a transaction in {}", core.target), error)
}

impl fmt::Debug for PostgresTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresTx")
            .field("is_open", &self.opened.is_some())
            .field("published", &self.published.len())
            .finish()
    }
}
