//! Messages in a transaction that is the user's own, of `sqlx`.

use super::outbox::Written;
use super::write::SqliteWriter;
use crate::schema;
use crate::sqlite::Sqlite;
use sqlx::Row;
use std::fmt;
use std::path::Path;
use tramline_core::compose::{Scope, Target};
use tramline_core::draft::IntoDraft;
use tramline_core::name::QueueName;
use tramline_core::rows::OUTBOX;
use tramline_core::transport::Outgoing;
use tramline_core::{Error, ErrorKind, Failure, Result};

impl SqliteWriter {
    /// The outbox inside of `transaction`, which is the caller's own and on the same file: what is
    /// published there leaves if the caller commits, and only then.
    ///
    /// The relay of this process, or of another on the file, sees a commit within about a second,
    /// or at once when it is told by [`SqliteWriter::committed`]. Order per key is that of the
    /// commits. Ids are new with every call, so a transaction that is run again publishes under
    /// other ids, unless the caller gives them.
    ///
    /// While the caller's transaction holds the file's write lock, everything that the bus writes
    /// waits: keep it short. If it reads before it writes, begin it by
    /// `pool.begin_with("BEGIN IMMEDIATE")`: SQLite refuses a transaction that wants to write what
    /// somebody else has written since it read.
    ///
    /// ```no_run
    /// # use serde::{Deserialize, Serialize};
    /// # use tramline_core::{BoxError, Message};
    /// # #[derive(Serialize, Deserialize)] struct OrderPlaced { order_id: i64 }
    /// # impl Message for OrderPlaced { const NAME: &'static str = "orders.placed"; }
    /// # async fn place(writer: tramline_sqlite::SqliteWriter, pool: sqlx::SqlitePool) -> Result<(), BoxError> {
    /// // let writer = bus.store(&store);
    /// let mut transaction = pool.begin().await?;
    /// sqlx::query("INSERT INTO orders (id) VALUES (7)").execute(&mut *transaction).await?;
    /// writer.outbox(&mut transaction).await?.publish(&OrderPlaced { order_id: 7 }).await?;
    /// transaction.commit().await?;
    /// writer.committed();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Misconfigured`]: the transaction is on another file. [`ErrorKind::Unavailable`]:
    /// its connection failed.
    pub async fn outbox<'t>(
        &self,
        transaction: &'t mut sqlx::Transaction<'_, sqlx::Sqlite>,
    ) -> Result<TransactionOutbox<'t>> {
        let connection: &'t mut sqlx::SqliteConnection = transaction;
        let doing = "append to the outbox inside a transaction";
        let failed = |error| Error::new(ErrorKind::Unavailable, doing).because(error);
        // The pragma, not its table: reading a table would begin a snapshot, and a transaction that
        // reads before it writes is refused once somebody else has written in between.
        let main = sqlx::query("PRAGMA database_list").fetch_one(&mut *connection);
        let file: String = main.await.and_then(|row| row.try_get("file")).map_err(failed)?;
        let ours = &self.sqlite().core.shared.path;
        if !is_same_file(Path::new(&file), ours) {
            let doing = format!("{doing}: it is on {file:?}, and the outbox in {}", ours.display());
            return Err(Error::new(ErrorKind::Misconfigured, doing));
        }
        let (sqlite, scope) = (self.sqlite().clone(), self.scope().clone());
        Ok(TransactionOutbox { connection, sqlite, scope })
    }

    /// Tells the relay that a transaction with messages in its [`outbox`](Self::outbox) is
    /// committed.
    pub fn committed(&self) {
        self.sqlite().core.shared.hub.wake(OUTBOX);
    }
}

/// The outbox inside of a transaction of `sqlx`: [`SqliteWriter::outbox`] answers one.
pub struct TransactionOutbox<'t> {
    connection: &'t mut sqlx::SqliteConnection,
    sqlite: Sqlite,
    scope: Scope,
}

impl TransactionOutbox<'_> {
    /// Publishes an event to its subscribers. It leaves only if the transaction commits.
    ///
    /// Dropped, the row may be in the transaction or not: roll back.
    ///
    /// # Errors
    /// A permanent failure if the message cannot be encoded; a retryable one if the database
    /// failed, or if a newer program has migrated it ([`ErrorKind::Outdated`]): then nothing is
    /// appended. The transaction is as `sqlx` leaves it after a failed statement.
    pub async fn publish<'m>(&mut self, message: impl IntoDraft<'m>) -> Result<(), Failure> {
        let outgoing = self.scope.compose(message, Target::Subscribers)?;
        self.append(outgoing).await
    }

    /// Sends a command to one queue. It leaves only if the transaction commits. Whether there is
    /// such a queue shows when the relay sends it.
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

    /// Publishes to an exchange of another broker. It leaves only if the transaction commits;
    /// whether there is such an exchange shows when the relay sends it.
    ///
    /// Dropped, the row may be in the transaction or not: roll back.
    ///
    /// # Errors
    /// As [`TransactionOutbox::publish`].
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

    async fn append(&mut self, mut outgoing: Outgoing) -> Result<(), Failure> {
        self.scope.number(&mut outgoing, &mut 0);
        let row = Written::of(&outgoing, self.scope.composer.clock.now())?;
        let appended = sqlx::query(Written::INSERT_UNLESS_NEWER)
            .bind(row.key)
            .bind(row.hold_until)
            .bind(row.destination)
            .bind(row.envelope)
            .bind(row.body)
            .bind(schema::NEWEST)
            .execute(&mut *self.connection)
            .await;
        match appended {
            Ok(done) if done.rows_affected() > 0 => Ok(()),
            // Newer tables take no row, or do not have its columns any more.
            Ok(_) => Err(self.refused(&outgoing, sqlx::Error::RowNotFound).await),
            Err(error) => Err(self.refused(&outgoing, error).await),
        }
    }

    /// Why nothing was appended: because of the version of the tables, or of `error`.
    async fn refused(&mut self, outgoing: &Outgoing, error: sqlx::Error) -> Failure {
        let version = sqlx::query_scalar::<_, u32>(schema::VERSION);
        let version = version.fetch_one(&mut *self.connection).await;
        let failure = Failure::retryable(match version {
            Ok(version) if version > schema::NEWEST => {
                let path = &self.sqlite.core.shared.path;
                schema::too_new("append to the outbox in", path, version)
            }
            _ => {
                let doing = format!("append to the outbox what goes to {}", outgoing.to);
                Error::new(ErrorKind::Unavailable, doing).because(error)
            }
        });
        self.scope.tell(&failure);
        failure
    }
}

/// SQLite tells a file by the name it was opened by.
fn is_same_file(theirs: &Path, ours: &Path) -> bool {
    match (theirs.canonicalize(), ours.canonicalize()) {
        (Ok(theirs), Ok(ours)) => theirs == ours,
        _ => false,
    }
}

impl fmt::Debug for TransactionOutbox<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionOutbox").finish_non_exhaustive()
    }
}
