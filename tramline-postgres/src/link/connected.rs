//! A connection that is there, with the statements that were prepared on it.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, SimpleQueryMessage, Statement};

/// What a statement is called with.
pub(crate) type Params<'a> = [&'a (dyn ToSql + Sync)];

/// One connection. Requests go out in the order in which their futures are first polled, without
/// waiting for the answers of those before them.
pub(crate) struct Connected {
    client: Client,
    statements: Mutex<HashMap<&'static str, Statement>>,
    /// The server may no longer be written to: another may, or this one after a new connection.
    read_only: AtomicBool,
    ended: watch::Receiver<()>,
}

impl Connected {
    /// `ended` is dropped with the connection.
    pub(super) fn new(client: Client, ended: watch::Receiver<()>) -> Self {
        Self { client, statements: Mutex::default(), read_only: AtomicBool::new(false), ended }
    }

    /// Ends with the connection. Cancel-safe.
    pub(crate) async fn ended(&self) {
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    /// Whether it is of no use any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed() || self.read_only.load(Ordering::Acquire)
    }

    /// For requests that are not the driver's own.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Runs `sql` and answers its rows.
    pub(crate) async fn query(
        &self,
        sql: &'static str,
        params: &Params<'_>,
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let statement = self.prepared(sql).await?;
        self.client.query(&statement, params).await.map_err(|error| self.heeded(error))
    }

    /// Runs `sql`, which answers exactly one row.
    pub(crate) async fn query_one(
        &self,
        sql: &'static str,
        params: &Params<'_>,
    ) -> Result<Row, tokio_postgres::Error> {
        let statement = self.prepared(sql).await?;
        self.client.query_one(&statement, params).await.map_err(|error| self.heeded(error))
    }

    /// Runs statements without parameters, several if they are separated by semicolons.
    pub(crate) async fn run(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute(sql).await.map_err(|error| self.heeded(error))
    }

    /// What `sql` answers first, as text, without a prepared statement.
    pub(crate) async fn ask(&self, sql: &str) -> Result<Option<String>, tokio_postgres::Error> {
        let answered = self.client.simple_query(sql).await.map_err(|error| self.heeded(error))?;
        Ok(answered.into_iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
    }

    /// Prepares `sql` if it has not been: before requests that are to follow each other closely.
    pub(crate) async fn prepared(
        &self,
        sql: &'static str,
    ) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.statements.lock().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.lock().insert(sql, statement.clone());
        Ok(statement)
    }

    /// The error, after it was looked whether this connection is still good for anything.
    pub(crate) fn heeded(&self, error: tokio_postgres::Error) -> tokio_postgres::Error {
        if error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) {
            self.read_only.store(true, Ordering::Release);
        }
        error
    }
}
