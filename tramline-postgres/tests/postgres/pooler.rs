//! PgBouncer between the driver and a server.

use crate::kit::{
    appended, begin, bodies, column, id, next, note, numbers, outside, prepared, put, receiver,
    send, within,
};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tramline_core::ErrorKind;
use tramline_core::clock::{Clock, SystemClock};
use tramline_core::compose::Publishing;
use tramline_core::settlement::{Settled, Settlement};
use tramline_core::store::{Committed, Store};
use tramline_core::transport::Delivery;
use tramline_postgres::Postgres;
use tramline_services::postgres::pooler_that_keeps_statements;
use tramline_services::testing::Database;
use tramline_services::{Error, or_skip};

/// One that is killed with the test, and its files removed.
struct Pooler {
    child: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Pooler {
    /// Starts one before the database's server. `None`, and told, where it is not installed.
    ///
    /// # Panics
    /// … and `cargo xtask test --require` forbids to pass it over.
    async fn before(database: &Database, settings: &str) -> Option<Self> {
        Self::of(Command::new("pgbouncer"), database, settings).await
    }

    /// The same, of a version that can keep the prepared statements of its clients apart, and pools
    /// transactions.
    async fn of_transactions(database: &Database, pool_size: u32) -> Option<Self> {
        let program = or_skip(pooler_that_keeps_statements())?;
        let settings = format!(
            "pool_mode = transaction\nmax_prepared_statements = 100\ndefault_pool_size = {pool_size}"
        );
        Self::of(program, database, &settings).await
    }

    async fn of(mut command: Command, database: &Database, settings: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        // As root it becomes somebody who has to read what is here.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let (users, config) = (folder.path().join("users"), folder.path().join("pgbouncer.ini"));
        std::fs::write(&users, "\"postgres\" \"\"\n").unwrap();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\n\
             ignore_startup_parameters = extra_float_digits\n{settings}\n",
            database.url.port().unwrap(),
            users.display()
        );
        std::fs::write(&config, text).unwrap();
        if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
            command.args(["-u", "nobody"]);
        }
        command.arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let child = or_skip(command.spawn().map_err(|error| Error::Absent {
            kind: "pgbouncer",
            why: format!("pgbouncer does not start: {error}"),
        }))?;
        let url = database.url.as_str();
        let server = format!(":{}/", database.url.port().unwrap());
        let url = url.replace(&server, &format!(":{port}/"));
        let pooler = Self { child, url, _folder: folder };
        within(async {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        Some(pooler)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_mixes_the_statements_of_its_clients_is_refused_with_what_to_set() {
    let Some(database) = Database::fresh() else { return };
    for pool_size in [20, 1] {
        let settings = format!("pool_mode = transaction\ndefault_pool_size = {pool_size}");
        let Some(pooler) = Pooler::before(&database, &settings).await else { return };
        let error = Postgres::connect(&*pooler.url).await.expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error}");
        let text = error.to_string();
        assert!(text.contains("max_prepared_statements"), "{text}");
        assert!(text.contains("pool_mode = session"), "{text}");
    }
    let schema = database.sql("SELECT FROM pg_namespace WHERE nspname = 'tramline'");
    assert!(schema.is_empty(), "nothing was made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_pools_sessions_is_as_good_as_the_server() {
    let Some(database) = Database::fresh() else { return };
    let Some(pooler) = Pooler::before(&database, "pool_mode = session").await else { return };
    drop(prepared(&database).await);
    let postgres = Postgres::connect(&*pooler.url).await.unwrap();
    assert!(send(&postgres, "m").await.is_accepted());
    let delivery = next(&mut receiver(&postgres, 1).await).await;
    assert_eq!(delivery.settle(Settlement::Ack).await.unwrap(), Settled::Done);
    let mut tx = begin(&postgres, Publishing::Queues).await;
    put(&mut tx, 1).await;
    let committed = within(postgres.commit(tx, Vec::new(), Vec::new())).await;
    assert_eq!(committed.unwrap(), Committed::Done);
}

/// Each handle has more connections than the proxy has for all, so their sessions are mixed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_proxy_that_pools_transactions_all_works_and_nobody_waits_to_be_told() {
    let Some(database) = Database::fresh() else { return };
    let Some(pooler) = Pooler::of_transactions(&database, 3).await else { return };
    drop(prepared(&database).await);
    let one = Postgres::connect(&*pooler.url).await.unwrap();
    let other = Postgres::connect(&*pooler.url).await.unwrap();
    let mut consumer = receiver(&one, 1).await;
    for message in ["a", "b", "c"] {
        let (delivery, sent) = tokio::join!(next(&mut consumer), send(&other, message));
        assert!(sent.is_accepted(), "{sent:?}");
        assert_eq!(delivery.envelope().id, Some(id(message)));
        assert_eq!(delivery.settle(Settlement::Ack).await.unwrap(), Settled::Done);
    }
    let told =
        "SELECT (SELECT count(*) FROM tramline.asleep) + (SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'LISTEN%')";
    assert_eq!(column(&database, told), ["0"], "they look by themselves");

    // Units with a transaction of their own, and some that share one, of each handle.
    let ends = [(&one, 0..10), (&other, 10..20)].map(async |(postgres, all)| {
        for n in all {
            let mut tx = begin(postgres, Publishing::Queues).await;
            match n % 2 {
                0 => put(&mut tx, n).await,
                _ => tx.write("INSERT INTO numbers VALUES ($1)", (n,)).unwrap(),
            }
            tx.send("work", &note(&n.to_string())).unwrap();
            let committed = within(postgres.commit(tx, Vec::new(), Vec::new())).await;
            assert_eq!(committed.unwrap(), Committed::Done);
        }
    });
    futures_util::future::join_all(ends).await;
    assert_eq!(numbers(&database).len(), 20);
    assert_eq!(bodies(&database, "work").len(), 20);

    // The outbox, in a transaction of the program's own, and a relay.
    let writer = one.writer(outside(Publishing::Outbox));
    let mut transaction = one.pool().begin().await.unwrap();
    writer.outbox(&mut transaction).publish(&note("n")).await.unwrap();
    transaction.commit().await.unwrap();
    let outbox = other.outbox();
    let claimed = outbox.claim(10, Duration::from_secs(30), SystemClock.now()).await.unwrap();
    let tokens: Vec<_> = claimed.iter().map(|row| row.token).collect();
    assert_eq!(tokens.len(), 1);
    outbox.sent(&tokens).await.unwrap();
    assert_eq!(appended(&database), "0");
}

/// Others have the rest of its pool, or there is no more of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_with_one_session_to_give_is_enough() {
    let Some(database) = Database::fresh() else { return };
    let Some(pooler) = Pooler::of_transactions(&database, 1).await else { return };
    drop(prepared(&database).await);
    let postgres = Postgres::connect(&*pooler.url).await.unwrap();
    assert!(send(&postgres, "m").await.is_accepted());
    let delivery = next(&mut receiver(&postgres, 1).await).await;
    assert_eq!(delivery.settle(Settlement::Ack).await.unwrap(), Settled::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_isolation_that_cannot_be_set_behind_a_proxy_is_refused_with_what_to_set() {
    let Some(database) = Database::fresh() else { return };
    let Some(pooler) = Pooler::of_transactions(&database, 3).await else { return };
    database.sql(
        "DO $$ BEGIN EXECUTE format(
             'ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database());
         END $$",
    );
    let error = Postgres::connect(&*pooler.url).await.expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Misconfigured, "{error}");
    let text = error.to_string();
    assert!(
        text.contains("serializable") && text.contains("default_transaction_isolation"),
        "{text}"
    );
}
