//! A database of a scenario's own, and what it sees of it beside the driver.

use std::fmt;
use std::time::Duration;
use tokio::time::Instant;
use tramline::Postgres;
use tramline::postgres::sqlx::postgres::{PgConnection, PgRow};
use tramline::postgres::sqlx::{self, AssertSqlSafe, Connection, Executor, Row};

/// How long a server that was just started may keep whoever looks waiting.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);

/// A database with the tables of the bus and one of effects.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    server: String,
    name: String,
}

impl Database {
    pub(super) async fn create(server: &str, name: &str) -> Result<Self, String> {
        // Tests share a server.
        let name = format!("{name}_{}", std::process::id());
        let database = Self { server: server.to_owned(), name };
        database.remove().await?;
        // Nobody can be connected to this template, which would keep it from being copied.
        let create = format!("CREATE DATABASE {} TEMPLATE template0", database.name);
        run(server, &create).await?;
        Postgres::connect(database.url("")).await.map_err(|error| error.to_string())?;
        // Without any constraint: what happens twice stands there twice.
        let effects = "CREATE TABLE effect (id bigint GENERATED ALWAYS AS IDENTITY,
             endpoint text, number bigint, key text)";
        database.run(effects).await.map(|()| database)
    }

    /// Where clients find it; `options` are further ones of the URL, such as `?application_name=relay`.
    pub(crate) fn url(&self, options: &str) -> String {
        let server = self.server.strip_suffix("/postgres").unwrap_or(&self.server);
        format!("{server}/{}{options}", self.name)
    }

    /// Removes it, whoever is connected.
    pub(crate) async fn remove(&self) -> Result<(), String> {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        run(&self.server, &drop).await
    }

    /// Runs statements.
    pub(crate) async fn run(&self, statements: &str) -> Result<(), String> {
        run(&self.looked_at(), statements).await
    }

    /// The rows of one statement.
    pub(crate) async fn rows(&self, sql: &str) -> Result<Vec<PgRow>, String> {
        let url = self.looked_at();
        patiently(sql, async || {
            let mut connection = PgConnection::connect(&url).await?;
            let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await?;
            connection.close().await.map(|()| rows)
        })
        .await
    }

    /// The one number that a statement answers.
    pub(crate) async fn count(&self, sql: &str) -> Result<i64, String> {
        let rows = self.rows(sql).await?;
        let row = rows.first().ok_or_else(|| format!("`{sql}` has answered nothing"))?;
        row.try_get(0).map_err(|error| format!("`{sql}`: {error}"))
    }

    fn looked_at(&self) -> String {
        self.url("?application_name=onlooker")
    }
}

async fn run(url: &str, statements: &str) -> Result<(), String> {
    patiently(statements, async || {
        let mut connection = PgConnection::connect(url).await?;
        connection.execute(sqlx::raw_sql(AssertSqlSafe(statements))).await?;
        connection.close().await
    })
    .await
}

/// Asks again while the server starts: what is asked here does no harm if it is done twice.
async fn patiently<T>(
    doing: impl fmt::Display,
    ask: impl AsyncFn() -> Result<T, sqlx::Error>,
) -> Result<T, String> {
    let deadline = Instant::now() + ANSWERED_WITHIN;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(sqlx::Error::Io(_)) if Instant::now() < deadline => {}
            Err(sqlx::Error::Database(said))
                if said.code().is_some_and(|code| code.starts_with("57P"))
                    && Instant::now() < deadline => {}
            Err(error) => return Err(format!("failed to run `{doing}`: {error}")),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
