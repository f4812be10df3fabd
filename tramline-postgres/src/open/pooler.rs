//! Whether a proxy stands between this program and the server that gives each transaction another
//! session (PgBouncer with `pool_mode=transaction`).

use crate::link::{Connected, Line, Target};
use crate::options::Settings;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::{Error, ErrorKind, Result};

/// Looks for one. Refuses one that loses prepared statements, or worse, has one program run those of another.
/// What is asked here needs none.
///
/// # Errors
/// [`ErrorKind::Misconfigured`]: there is one that does so. Or the server cannot be reached.
pub(super) async fn pools_transactions(
    one: &Connected,
    target: &Arc<Target>,
    settings: &Settings,
) -> Result<bool> {
    let line = Line::new(target.clone(), "probe", settings);
    let other = line.try_connected().await?;
    if !is_pooled(one, &other, target).await? {
        return Ok(false);
    }
    if keeps_statements(one, &other).await {
        return sees_others(one, target).await.map(|()| true);
    }
    let why = "a proxy pools the transactions of its clients there and does not keep their prepared \
               statements apart; set max_prepared_statements for it (PgBouncer 1.21 or newer), or \
               pool_mode = session for this database, or connect to the server itself";
    Err(Error::new(ErrorKind::Misconfigured, format!("open {target}")).because(why))
}

/// A function that waits for its turn has to see what others did meanwhile. Where sessions are shared, that
/// cannot be set for each connection: whoever else has the session would have it, too.
async fn sees_others(one: &Connected, target: &Target) -> Result<()> {
    const DEFAULT: &str =
        "SELECT reset_val FROM pg_settings WHERE name = 'default_transaction_isolation'";
    let asked = one.ask(DEFAULT).await;
    let doing = || format!("open {target}");
    match asked.map_err(|error| crate::error::failed(doing(), &error))?.as_deref() {
        Some("read committed") | None => Ok(()),
        Some(other) => {
            let why = format!(
                "a proxy pools the transactions of its clients there, and their default isolation is \
                 {other}: set default_transaction_isolation of the role or the database to 'read \
                 committed', or connect to the server itself"
            );
            Err(Error::new(ErrorKind::Misconfigured, doing()).because(why))
        }
    }
}

const PID: &str = "SELECT pg_backend_pid()";

/// Two connections of ours never have one session, and each keeps its own.
async fn is_pooled(one: &Connected, other: &Connected, target: &Target) -> Result<bool> {
    /// A proxy with many clients may give us the same ones by chance.
    const LOOKS: usize = 3;
    let doing = || format!("tell whether a proxy stands before {target}");
    let pid = async |connected: &Connected| {
        let asked = connected.ask(PID).await;
        asked.map_err(|error| crate::error::failed(doing(), &error))
    };
    let first = pid(one).await?;
    for _ in 0..LOOKS {
        if pid(other).await? == first || pid(one).await? != first {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a statement that was prepared in one session is there in the next one, too.
async fn keeps_statements(one: &Connected, other: &Connected) -> bool {
    /// Where no second session becomes free, it cannot be tried.
    const PATIENCE: Duration = Duration::from_secs(2);
    if matches!(gives_names(one).await, Ok(true)) {
        return true;
    }
    matches!(tokio::time::timeout(PATIENCE, survives(one, other)).await, Ok(Ok(true)))
}

/// Whether statements have other names in the server than this program gave them: who names them keeps them
/// apart, as PgBouncer does. Asked in one session: a small pool may have no second one free.
async fn gives_names(one: &Connected) -> Result<bool, tokio_postgres::Error> {
    const STATEMENT: &str = "SELECT pg_backend_pid() AS named_for_tramline";
    /// The client library's are `s` and a number.
    const IS_RENAMED: &str =
        "SELECT count(*) > 0 AND count(*) FILTER (WHERE name ~ '^s[0-9]+$') = 0
        FROM pg_prepared_statements
        WHERE statement = 'SELECT pg_backend_pid() AS named_for_tramline'";
    let asked = async {
        one.run("BEGIN").await?;
        one.prepared(STATEMENT).await?;
        one.ask(IS_RENAMED).await
    };
    let is_renamed = asked.await;
    // One that has failed goes on in the next transaction, too.
    one.run("ROLLBACK").await?;
    Ok(is_renamed?.as_deref() == Some("t"))
}

/// Whether a statement is there in a session in which it was not prepared.
async fn survives(one: &Connected, other: &Connected) -> Result<bool, tokio_postgres::Error> {
    const STATEMENT: &str = "SELECT pg_backend_pid() AS prepared_by_tramline";
    one.run("BEGIN").await?;
    let prepared_in = one.ask(PID).await?;
    one.prepared(STATEMENT).await?;
    one.run("COMMIT").await?;
    // So that it cannot be had again.
    other.run("BEGIN").await?;
    let held = other.ask(PID).await?;
    let there = one.query_one(STATEMENT, &[]).await;
    other.run("ROLLBACK").await?;
    Ok(held == prepared_in && there.is_ok())
}
