//! A database for each test, and what a test sees of it beside the driver.

use super::sql::{Rows, hand_over, run};
use super::unique;
use crate::or_skip;
use crate::postgres::shared_url;
use std::io::Write;
use url::Url;

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
        run(&server, &format!("CREATE DATABASE \"{name}\" TEMPLATE template0"))
            .unwrap_or_else(|error| panic!("{error}"));
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
        run(&self.url, statements).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Cuts off every other client of this database, and answers how many there were when their sessions
    /// have ended.
    ///
    /// # Panics
    /// If the server does not answer, or is older than version 14.
    pub fn cut_all(&self) -> usize {
        let cut = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid() \
                   AND backend_type = 'client backend'";
        self.sql(cut).len()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE \"{}\" WITH (FORCE)", self.name);
        // To remove the hundreds of files of a database takes longer than many a test.
        if let Err(error) = hand_over(&self.server, &drop) {
            // A test may have killed the server, and one that fails must not abort for it.
            writeln!(std::io::stderr(), "{error}").ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::PATIENCE;
    use super::*;
    use std::time::Instant;
    use tokio_postgres::{Config, NoTls};

    /// Waits until the server has no database of this name any more.
    fn wait_until_gone(server: &Url, name: &str) {
        let listed = format!("SELECT FROM pg_database WHERE datname = '{name}'");
        let deadline = Instant::now() + PATIENCE;
        while !run(server, &listed).unwrap().is_empty() {
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
}
