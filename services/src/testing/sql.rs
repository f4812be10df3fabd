//! SQL by a client that knows nothing of us, for who cannot await it.

use super::PATIENCE;
use std::future::Future;
use std::panic::resume_unwind;
use tokio::time::timeout;
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};
use url::Url;

/// The columns of each row as text; `None` is NULL.
pub type Rows = Vec<Vec<Option<String>>>;

/// Runs statements, and returns the rows of all of them or what failed. This thread is blocked meanwhile.
pub(crate) fn run(url: &Url, statements: &str) -> Result<Rows, String> {
    let row = |message: SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
        }
        _ => None,
    };
    let done = with_client(url, async |client| client.simple_query(statements).await);
    let rows = done.map(|messages| messages.into_iter().filter_map(row).collect());
    rows.map_err(|error| failed(url, statements, &error))
}

/// Hands a statement to the server, and does not wait until it is done.
pub(crate) fn hand_over(url: &Url, statement: &str) -> Result<(), String> {
    let handed = with_client(url, async |client| {
        // Both leave in one piece, so that the statement has arrived when the first is answered.
        tokio::select! {
            biased;
            answer = client.simple_query("") => answer.map(drop),
            done = client.batch_execute(statement) => done,
        }
    });
    handed.map_err(|error| failed(url, statement, &error))
}

fn failed(url: &Url, statements: &str, error: &str) -> String {
    let mut url = url.clone();
    url.set_password(None).ok();
    format!("failed to run `{statements}` on {url}: {error}")
}

/// Connects and does something, within a limit, on a thread of its own: this one may belong to a
/// runtime, which must not wait for another.
fn with_client<T: Send>(
    url: &Url,
    act: impl AsyncFnOnce(Client) -> Result<T, Error> + Send,
) -> Result<T, String> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime.block_on(within_limit(async {
            let (client, connection) = url.as_str().parse::<Config>()?.connect(NoTls).await?;
            // It says nothing that the client does not.
            tokio::spawn(connection);
            act(client).await
        }))
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap_or_else(|panic| resume_unwind(panic)))
}

async fn within_limit<T>(done: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
    match timeout(PATIENCE, done).await {
        Ok(done) => done.map_err(|error| with_causes(&error)),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

fn with_causes(error: &Error) -> String {
    let first: &dyn std::error::Error = error;
    let causes = std::iter::successors(Some(first), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Database;

    #[test]
    fn what_fails_is_told_with_the_statement_and_without_the_password() {
        let Some(database) = Database::fresh() else { return };
        let mut url = database.url.clone();
        url.set_password(Some("secret")).unwrap();
        let told = run(&url, "SELECT no_such").unwrap_err();
        let mut url = database.url.clone();
        url.set_password(None).unwrap();
        assert!(told.starts_with(&format!("failed to run `SELECT no_such` on {url}: ")), "{told}");
        assert!(told.contains("column \"no_such\" does not exist"), "{told}");
    }
}
