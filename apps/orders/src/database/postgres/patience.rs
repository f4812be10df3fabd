//! A server that starts again is waited for.

use std::fmt::Display;
use std::time::Duration;
use tokio::time::Instant;
use tramline::postgres::sqlx;

/// How long a server may be away.
const LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// Asks until the server answers. An answer may have been lost on the way, so what is asked twice must
/// do no harm.
pub(super) async fn patiently<T, F>(ask: impl FnMut() -> F) -> Result<T, sqlx::Error>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    while_away(is_away, ask).await
}

/// The same, where `is_away` knows the errors of a server that is away.
pub(super) async fn while_away<T, E: Display, F>(
    is_away: fn(&E) -> bool,
    mut ask: impl FnMut() -> F,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + LIMIT;
    loop {
        match ask().await {
            Err(error) if is_away(&error) && Instant::now() < deadline => {
                tracing::warn!(%error, "the database is away: trying again");
                tokio::time::sleep(PAUSE).await;
            }
            answered => return answered,
        }
    }
}

fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        // It stops, starts, or was promoted a moment ago.
        sqlx::Error::Database(said) => {
            said.code().is_some_and(|code| code.starts_with("57P") || code == "25006")
        }
        _ => false,
    }
}
