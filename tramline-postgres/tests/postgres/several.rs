//! URLs that name several servers, and what they hand on to each connection.

use crate::kit::{begin, column, put, within};
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tramline_core::compose::Publishing;
use tramline_core::store::{Committed, Store};
use tramline_postgres::{Postgres, sqlx};
use tramline_services::or_skip;
use tramline_services::postgres::Server;
use tramline_services::testing::Database;
use url::Url;

/// An address of its own for a server, until it is cut.
struct Address {
    at: SocketAddr,
    forwards: JoinHandle<()>,
}

impl Address {
    async fn of(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let forwards = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                connections.spawn(async move {
                    let mut there = TcpStream::connect(server).await.unwrap();
                    tokio::io::copy_bidirectional(&mut client, &mut there).await.ok();
                });
            }
        });
        Self { at, forwards }
    }

    /// All connections end, and there are no new ones.
    async fn cut(self) {
        self.forwards.abort();
        self.forwards.await.ok();
    }
}

async fn put_number(postgres: &Postgres, n: i64) {
    let mut tx = begin(postgres, Publishing::Queues).await;
    put(&mut tx, n).await;
    assert_eq!(postgres.commit(tx, Vec::new(), Vec::new()).await.unwrap(), Committed::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_one_address_fails_handlers_and_driver_go_on_at_the_next() {
    let Some(database) = Database::fresh() else { return };
    database.sql("CREATE TABLE numbers (n bigint PRIMARY KEY)");
    let server = database.url.socket_addrs(|| None).unwrap()[0];
    let (one, other) = (Address::of(server).await, Address::of(server).await);
    let mut url = database.url.clone();
    url.set_port(Some(one.at.port())).unwrap();
    let [first, both] = [one.at, other.at].map(|at| at.to_string());
    let url = url.as_str().replace(&first, &format!("{first},{both}"));
    let postgres = Postgres::connect(url).await.unwrap();
    put_number(&postgres, 1).await;
    one.cut().await;
    within(async {
        // A handler that is begun before anybody has noticed fails, and is begun again.
        loop {
            let looked = postgres.outbox().depth().await;
            if looked.is_ok()
                && begin(&postgres, Publishing::Queues).await.connection().await.is_ok()
            {
                return;
            }
        }
    })
    .await;
    put_number(&postgres, 2).await;
    assert_eq!(column(&database, "SELECT n FROM numbers ORDER BY n"), ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_servers_the_first_that_may_be_written_to_is_used() {
    let Some(database) = Database::fresh() else { return };
    database.sql("CREATE TABLE numbers (n bigint PRIMARY KEY)");
    let Some(standby) = or_skip(Server::temporary("standby", &[])) else { return };
    let create = format!("CREATE DATABASE \"{}\"", database.name);
    for statement in
        [&create, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"]
    {
        standby.psql("postgres", statement).unwrap();
    }
    while standby.psql("postgres", "SHOW transaction_read_only").unwrap().trim() != "on" {}
    let address = |url: &Url| url.socket_addrs(|| None).unwrap()[0].to_string();
    let (here, there) = (address(&database.url), address(&standby.url().parse().unwrap()));
    let url = database.url.as_str().replace(&here, &format!("{there},{here}"));
    let postgres = Postgres::connect(url.as_str()).await.unwrap();
    put_number(&postgres, 1).await;
    assert_eq!(column(&database, "SELECT n FROM numbers"), ["1"]);
    let only = database.url.as_str().replace(&here, &format!("{there},{there}"));
    let error = Postgres::connect(only.as_str()).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("does not allow writes"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_of_the_url_hold_for_handlers_too() {
    let Some(database) = Database::fresh() else { return };
    let url = database.url_with("options", "-c statement_timeout=12345ms -c lock_timeout=777");
    // As PostgreSQL's own clients, which do not read a plus as a space.
    let postgres = Postgres::connect(url.replace('+', "%20")).await.unwrap();
    let shown =
        "SELECT current_setting('statement_timeout') || ' ' || current_setting('lock_timeout')";
    let shown: String = sqlx::query_scalar(shown).fetch_one(postgres.pool()).await.unwrap();
    assert_eq!(shown, "12345ms 777ms");
}
