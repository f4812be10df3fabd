//! Writing and publishing outside of handlers.

use super::appending::TransactionOutbox;
use super::commit::commit;
use super::tx::PostgresTx;
use crate::open::OUTBOX;
use crate::postgres::Postgres;
use sqlx::postgres::{PgConnection, PgPool};
use std::fmt;
use tramline_core::Failure;
use tramline_core::compose::Scope;
use tramline_core::store::CommitError;

/// Writes and publishes outside of handlers: `bus.store(&store)` answers one.
#[derive(Clone)]
pub struct PostgresWriter {
    postgres: Postgres,
    scope: Scope,
}

impl PostgresWriter {
    pub(super) fn new(postgres: Postgres, scope: Scope) -> Self {
        Self { postgres, scope }
    }

    /// The outbox inside of a transaction of the caller's own, which `connection` is in: what is
    /// published there leaves if the caller commits, and only then. Takes `&mut transaction` of `sqlx`,
    /// or a connection, without whose `BEGIN` each message is a transaction of its own.
    ///
    /// Where the bus is in this same database, messages stand in their queues the moment the transaction
    /// is committed; else they stand in the outbox. Whoever waits for them is woken by a task that asks
    /// the server how the transaction has ended, after 1, 2, 4 and at last every 100 ms, or at once by
    /// [`committed`](Self::committed). Ids are new with every call, so a transaction that is run again
    /// publishes under other ids, unless the caller gives them.
    ///
    /// ```no_run
    /// # use serde::{Deserialize, Serialize};
    /// # use tramline_core::{BoxError, Message};
    /// # use tramline_postgres::{PostgresWriter, sqlx};
    /// # #[derive(Serialize, Deserialize)] struct OrderPlaced { order_id: i64 }
    /// # impl Message for OrderPlaced { const NAME: &'static str = "orders.placed"; }
    /// # async fn place(writer: PostgresWriter, pool: sqlx::PgPool) -> Result<(), BoxError> {
    /// // let writer = bus.store(&store);
    /// let mut transaction = pool.begin().await?;
    /// sqlx::query("INSERT INTO orders (id) VALUES (7)").execute(&mut *transaction).await?;
    /// writer.outbox(&mut transaction).publish(&OrderPlaced { order_id: 7 }).await?;
    /// transaction.commit().await?;
    /// writer.committed();
    /// # Ok(())
    /// # }
    /// ```
    pub fn outbox<'t>(&self, connection: &'t mut PgConnection) -> TransactionOutbox<'t> {
        TransactionOutbox::new(self.postgres.core.clone(), self.scope.clone(), connection)
    }

    /// Says that transactions with messages in their [`outbox`](Self::outbox) are committed: whoever
    /// waits for them is woken now. Need not be said.
    pub fn committed(&self) {
        let core = &self.postgres.core;
        core.woken_by_commit(core.watch.queues().into_iter().chain([OUTBOX]));
    }

    /// A transaction as handlers have it, for [`commit`](Self::commit). Asks nothing of the server yet.
    pub fn begin(&self) -> PostgresTx {
        PostgresTx::new(self.postgres.core.clone(), self.scope.clone())
    }

    /// Commits what was written and published in `tx`, all of it or nothing.
    ///
    /// Dropped, it may be committed nevertheless.
    ///
    /// # Errors
    /// A failure: nothing of it is in; or, rarely, the answer was lost and it may be in: then the text
    /// says so.
    pub async fn commit(&self, tx: PostgresTx) -> Result<(), Failure> {
        let committed = commit(&self.postgres.core, tx, Vec::new(), Vec::new()).await;
        // Without conditions, none is refused.
        let committed = committed.map(drop).map_err(|error| match error {
            CommitError::Handler(failure) => failure,
            error => Failure::retryable(error),
        });
        committed.inspect_err(|failure| self.scope.tell(failure))
    }

    /// The pool whose connections handlers write with: as [`Postgres::pool`].
    pub fn pool(&self) -> &PgPool {
        self.postgres.pool()
    }
}

impl fmt::Debug for PostgresWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresWriter").field(&self.postgres).finish()
    }
}
