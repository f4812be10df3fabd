//! A database for each test, and what a test sees of it beside the driver.

use super::{PATIENCE, unique};
use crate::or_skip;
use crate::postgres::shared_url;
use std::future::Future;
use std::io::Write;
use std::panic::resume_unwind;
use tokio::time::timeout;
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};
use url::Url;

/// The columns of each row as text; `None` is NULL.
pub type Rows = Vec<Vec<Option<String>>>;

/// A database of the test's own, gone soon after this is dropped, whoever is connected to it.
pub struct Database {
    /// Its name, which no other has had. In SQL it needs quotes.
    pub name: String,
    /// Its URL for clients.
    pub url: Url,
    server: Url,
}

impl Database {
    /// An empty one on the server that tests have in common. `None`, and told, where there is none.
    ///
    /// It takes some 50 ms, in which this thread is blocked.
    ///
    /// # Panics
    /// … and `cargo xtask test --require` forbids to pass it over; or if it cannot be created.
    pub fn fresh() -> Option<Self> {
        let url = or_skip(shared_url())?;
        Some(Self::on(url.parse().unwrap_or_else(|error| panic!("the server's URL: {error}"))))
    }

    /// An empty one on the server at `server`, whose user may create it there.
    ///
    /// # Panics
    /// If it cannot be created.
    pub fn on(server: Url) -> Self {
        let name = unique();
        // Nobody can be connected to this template, which would keep it from being copied.
        run(&server, &format!("CREATE DATABASE \"{name}\" TEMPLATE template0"));
        let mut url = server.clone();
        url.set_path(&format!("/{name}"));
        Self { name, url, server }
    }

    /// The URL with another option.
    pub fn url_with(&self, name: &str, value: &str) -> String {
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair(name, value);
        url.into()
    }

    /// Runs statements by another client, and returns the rows of all of them. This thread is blocked
    /// meanwhile.
    ///
    /// # Panics
    /// If one fails, or half a minute is not enough.
    pub fn sql(&self, statements: &str) -> Rows {
        run(&self.url, statements)
    }

    /// Cuts off every other session in this database. Answers how many.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn cut_all(&self) -> usize {
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        self.sql(cut).len()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS \"{}\" WITH (FORCE)", self.name);
        if let Err(error) = on_own_thread(with_client(&self.server, |client| send(client, drop))) {
            // A test may have killed the server, and one that fails must not abort for it.
            let name = &self.name;
            writeln!(std::io::stderr(), "failed to drop the database {name}: {error}").ok();
        }
    }
}

/// Hands a statement to the server and does not wait until it is done: to remove the hundreds of files
/// of a database takes longer than many a test.
async fn send(client: Client, statement: String) -> Result<(), Error> {
    // Both leave in one piece, so that the statement has arrived when the answer to the first is here.
    tokio::select! {
        biased;
        answer = client.simple_query("") => answer.map(drop),
        done = client.batch_execute(&statement) => done,
    }
}

fn run(url: &Url, statements: &str) -> Rows {
    let asked = with_client(url, async |client| client.simple_query(statements).await);
    let answered = on_own_thread(asked);
    let messages = answered.unwrap_or_else(|error| {
        let mut url = url.clone();
        url.set_password(None).ok();
        panic!("failed to run `{statements}` on {url}: {error}")
    });
    let row = |message: SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
        }
        _ => None,
    };
    messages.into_iter().filter_map(row).collect()
}

/// Connects and does something, within a limit.
async fn with_client<T, F: Future<Output = Result<T, Error>>>(
    url: &Url,
    act: impl FnOnce(Client) -> F,
) -> Result<T, String> {
    let connected = async {
        let (client, connection) = url.as_str().parse::<Config>()?.connect(NoTls).await?;
        // It says nothing that the client does not.
        tokio::spawn(connection);
        act(client).await
    };
    match timeout(PATIENCE, connected).await {
        Ok(done) => done.map_err(|error| told(&error)),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// An error with its causes.
fn told(error: &Error) -> String {
    let first: &dyn std::error::Error = error;
    let causes = std::iter::successors(Some(first), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Runs this to its end, also where this thread is one of a runtime, which must not wait for another.
fn on_own_thread<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap_or_else(|error| panic!("a runtime: {error}")).block_on(future)
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap_or_else(|panic| resume_unwind(panic)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// Waits until the server has no database of this name any more.
    fn wait_until_gone(server: &Url, name: &str) {
        let listed = format!("SELECT FROM pg_database WHERE datname = '{name}'");
        let deadline = Instant::now() + PATIENCE;
        while !run(server, &listed).is_empty() {
            assert!(Instant::now() < deadline, "{name} is still there");
        }
    }

    #[tokio::test]
    async fn each_test_has_a_database_of_its_own_until_it_drops_it() {
        let Some(one) = Database::fresh() else { return };
        let other = Database::fresh().unwrap();
        one.sql("CREATE TABLE kept (it text); INSERT INTO kept VALUES ('here'), (NULL)");
        let rows = one.sql("SELECT it, 1 FROM kept");
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(rows, [[text("here"), text("1")], [None, text("1")]]);
        assert_eq!(other.sql("SELECT to_regclass('kept')"), [[None]]);

        // Who is still connected does not keep it.
        let config: Config = one.url.as_str().parse().unwrap();
        let (_client, connection) = config.connect(NoTls).await.unwrap();
        let (server, name) = (one.server.clone(), one.name.clone());
        drop(one);
        wait_until_gone(&server, &name);
        assert!(connection.await.is_err());
    }

    #[tokio::test]
    async fn all_others_are_cut_off() {
        let Some(database) = Database::fresh() else { return };
        let config: Config = database.url.as_str().parse().unwrap();
        let (_client, connection) = config.connect(NoTls).await.unwrap();
        assert_eq!(database.cut_all(), 1);
        assert!(connection.await.is_err());
        assert_eq!(database.cut_all(), 0);
    }

    #[test]
    fn what_fails_is_told_with_the_statement_and_without_the_password() {
        let Some(database) = Database::fresh() else { return };
        let mut url = database.url.clone();
        url.set_password(Some("secret")).unwrap();
        let failed = std::thread::spawn(move || run(&url, "SELECT no_such")).join().unwrap_err();
        let told = failed.downcast_ref::<String>().unwrap();
        assert!(
            told.starts_with("failed to run `SELECT no_such` on postgres://postgres@"),
            "{told}"
        );
        assert!(told.contains("column \"no_such\" does not exist"), "{told}");
    }
}
