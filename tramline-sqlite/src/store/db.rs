//! The database inside a transaction of the writer.

use super::{outbox, statements};
use crate::error::failed;
use crate::queue::parcel::Parcel;
use crate::queue::place::{Placed, full, place};
use crate::queue::sql::BORN_HERE;
use crate::writer::Work;
use rusqlite::{Params, Row};
use std::cell::Cell;
use std::fmt;
use tramline_core::compose::{Publishing, Scope, Target};
use tramline_core::draft::IntoDraft;
use tramline_core::name::QueueName;
use tramline_core::transport::{Destination, Outgoing};
use tramline_core::{Error, ErrorKind, Failure, Result};

/// The database inside a transaction, for a closure on the writer thread.
///
/// All of the closure's writes and messages are kept, or none. Statements stay prepared.
/// Transaction control, `ATTACH`, `PRAGMA` and writing to the bus's own tables are refused, as a
/// permanent failure. The closure may run more than once when another one takes the common
/// transaction down, so it has no effects but those on the database.
pub struct Db<'a> {
    work: &'a Work<'a>,
    scope: Option<&'a Scope>,
    /// How many messages this unit of work has published.
    ordinal: &'a Cell<u32>,
}

impl<'a> Db<'a> {
    pub(super) fn new(
        work: &'a Work<'a>,
        scope: Option<&'a Scope>,
        ordinal: &'a Cell<u32>,
    ) -> Self {
        Self { work, scope, ordinal }
    }

    /// Runs one statement. Answers how many rows it changed.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn execute(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.check_open()?;
        statements::prepare(self.work.connection, sql)?.execute(params)
    }

    /// The first row.
    ///
    /// # Errors
    /// What SQLite says, and [`rusqlite::Error::QueryReturnedNoRows`] without a row.
    pub fn query_row<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.check_open()?;
        statements::query_row(self.work.connection, sql, params, read)
    }

    /// The first row, if there is any.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn query_optional<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        self.check_open()?;
        statements::query_optional(self.work.connection, sql, params, read)
    }

    /// All rows.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn query_map<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        self.check_open()?;
        statements::query_map(self.work.connection, sql, params, read)
    }

    /// The row id that was given last on this connection: ask right behind the `execute`, because
    /// publishing inserts rows too.
    pub fn last_insert_rowid(&self) -> i64 {
        self.work.connection.last_insert_rowid()
    }

    /// Publishes an event to its subscribers. It leaves only if the transaction commits.
    ///
    /// # Errors
    /// A permanent failure: there is no bus behind this database (`store.write` without
    /// `bus.store(&store)`), or the message cannot be encoded.
    pub fn publish<'m>(&self, message: impl IntoDraft<'m>) -> Result<(), Failure> {
        let outgoing = self.scope()?.compose(message, Target::Subscribers)?;
        self.put(outgoing)
    }

    /// Sends a command to one queue. It leaves only if the transaction commits.
    ///
    /// # Errors
    /// As [`Db::publish`], and a permanent failure for a queue that was not declared.
    pub fn send<'m>(&self, queue: &str, message: impl IntoDraft<'m>) -> Result<(), Failure> {
        let queue = QueueName::new(queue).map_err(Failure::permanent)?;
        let outgoing = self.scope()?.compose(message, Target::Queue(queue))?;
        self.put(outgoing)
    }

    /// Publishes to an exchange of another broker. It leaves only if the transaction commits.
    ///
    /// # Errors
    /// As [`Db::publish`], and a permanent failure where this file is the transport: it has no
    /// exchanges.
    pub fn publish_to_exchange<'m>(
        &self,
        exchange: impl Into<String>,
        routing_key: impl Into<String>,
        message: impl IntoDraft<'m>,
    ) -> Result<(), Failure> {
        let to = Target::Foreign { exchange: exchange.into(), routing_key: routing_key.into() };
        self.put(self.scope()?.compose(message, to)?)
    }

    /// Writes a message where its scope says: into queues of this database, or into the outbox.
    pub(super) fn put(&self, mut outgoing: Outgoing) -> Result<(), Failure> {
        self.check_open()?;
        let scope = self.scope()?;
        let mut ordinal = self.ordinal.get();
        scope.number(&mut outgoing, &mut ordinal);
        self.ordinal.set(ordinal);
        self.work.guard.trusted(|| match scope.publishing {
            Publishing::Queues => enqueue(self.work, &outgoing),
            Publishing::Outbox => outbox::append(self.work, &outgoing),
        })
    }

    fn scope(&self) -> Result<&'a Scope, Failure> {
        self.scope.ok_or_else(|| {
            Failure::permanent(
                "failed to publish: this database has no bus; use bus.store(&store).write",
            )
        })
    }

    /// After SQLite has rolled the transaction back, a statement would commit by itself.
    fn check_open(&self) -> rusqlite::Result<()> {
        if self.work.is_open() {
            self.work.guard.next_statement();
            return Ok(());
        }
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT_ROLLBACK);
        let text = "an earlier statement has ended the transaction".to_owned();
        Err(rusqlite::Error::SqliteFailure(code, Some(text)))
    }
}

fn enqueue(work: &Work<'_>, outgoing: &Outgoing) -> Result<(), Failure> {
    // What is refused now is refused again.
    let parcel = Parcel::pack(outgoing).map_err(Failure::permanent)?;
    let placed = place(work, &parcel, None, BORN_HERE);
    match placed.map_err(|error| failed(format!("send to {}", outgoing.to), error))? {
        Placed::In(queues) => {
            // An answer that nobody waits for any more is no event without subscribers.
            if queues == 0 && !matches!(outgoing.to, Destination::Address(_)) {
                work.effects.borrow_mut().unrouted.insert(outgoing.to.to_string());
            }
            Ok(())
        }
        // There is room again once others are handled.
        Placed::Full(queue) => Err(Failure::retryable(full(&outgoing.to, &queue))),
        Placed::Unknown(queue) => {
            Err(Failure::retryable(queue.unknown(format!("send to {}", outgoing.to))))
        }
        Placed::NoSuchQueue => {
            let error = Error::new(ErrorKind::NotFound, format!("send to {}", outgoing.to));
            Err(Failure::permanent(error.because("no such queue was declared")))
        }
    }
}

impl fmt::Debug for Db<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").finish_non_exhaustive()
    }
}
