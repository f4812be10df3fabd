//! Who is told of a commit, by whom, and how often.

use crate::kit::{begin, column, note, open, opened, outside, put, receiver, send, until, within};
use std::future::poll_fn;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, NoTls, Notification};
use tramline_core::compose::Publishing;
use tramline_core::store::{Committed, Store};
use tramline_core::transport::Receiver;
use tramline_postgres::{Postgres, sqlx};
use tramline_services::testing::Database;

/// How long who sleeps looks for nothing by himself, and a little less.
const LOOK: Duration = Duration::from_millis(4500);
const ASLEEP: &str = "SELECT count(*) FROM tramline.asleep";
const PID: &str = "SELECT pg_backend_pid()";

/// A client that hears all that is said.
struct Ear {
    client: Client,
    heard: mpsc::Receiver<Notification>,
}

impl Ear {
    async fn at(database: &Database) -> Self {
        let (client, mut connection) =
            tokio_postgres::connect(database.url.as_str(), NoTls).await.unwrap();
        let (says, heard) = mpsc::channel(10_000);
        tokio::spawn(async move {
            while let Some(Ok(said)) = poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(notification) = said {
                    says.try_send(notification).unwrap();
                }
            }
        });
        client.batch_execute("LISTEN tramline").await.unwrap();
        Self { client, heard }
    }

    /// What was said that wakes somebody.
    async fn next(&mut self) -> Notification {
        loop {
            let heard = within(self.heard.recv()).await.unwrap();
            // With a question mark, processes ask whether they hear themselves.
            if !heard.payload().starts_with('?') {
                return heard;
            }
        }
    }

    /// All that was said until now and that wakes somebody.
    async fn so_far(&mut self) -> Vec<Notification> {
        const END: &str = "?the test";
        self.client.execute("SELECT pg_notify('tramline', $1)", &[&END]).await.unwrap();
        let mut all = Vec::new();
        loop {
            match within(self.heard.recv()).await.unwrap() {
                heard if heard.payload() == END => return all,
                heard if heard.payload().starts_with('?') => {}
                heard => all.push(heard),
            }
        }
    }
}

/// Writes down when the driver asks that others be woken.
fn count_calls(database: &Database) {
    database.sql(
        "CREATE TABLE calls (backend int NOT NULL);
         ALTER FUNCTION tramline.wake(int[]) RENAME TO wake_in_fact;
         CREATE FUNCTION tramline.wake(p_queues int[]) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO calls VALUES (pg_backend_pid());
             RETURN tramline.wake_in_fact(p_queues); END $$",
    );
}

/// A process that is asleep at every queue, the outbox among them, for as long as anybody asks.
fn put_to_sleep(database: &Database) {
    database.sql(
        "INSERT INTO tramline.process (id, label, lease_until)
         VALUES (4711, 'asleep', tramline.clock() + 3600000000);
         INSERT INTO tramline.asleep SELECT id, 4711 FROM tramline.queue UNION ALL SELECT 0, 4711",
    );
}

/// Sends in a transaction of the program's own, and answers its backend.
async fn send_in_own_transaction(postgres: &Postgres, publishing: Publishing) -> i32 {
    let mut transaction = postgres.pool().begin().await.unwrap();
    let backend = sqlx::query_scalar(PID).fetch_one(&mut *transaction).await.unwrap();
    let writer = postgres.writer(outside(publishing));
    writer.outbox(&mut transaction).send("work", &note("own")).await.unwrap();
    transaction.commit().await.unwrap();
    backend
}

/// Sends in the transaction of a handler, and answers its backend.
async fn send_in_handler(postgres: &Postgres, publishing: Publishing, n: i64) -> i32 {
    let mut tx = begin(postgres, publishing).await;
    put(&mut tx, n).await;
    let backend = sqlx::query_scalar(PID).fetch_one(tx.connection().await.unwrap()).await.unwrap();
    tx.send("work", &note("handler")).unwrap();
    assert_eq!(postgres.commit(tx, Vec::new(), Vec::new()).await.unwrap(), Committed::Done);
    backend
}

#[tokio::test]
async fn where_nobody_sleeps_nothing_is_said() {
    let Some((database, postgres)) = opened().await else { return };
    count_calls(&database);
    let mut ear = Ear::at(&database).await;
    let called = async || {
        until(&database, "DELETE FROM calls RETURNING 1", |calls| !calls.is_empty()).await;
    };
    assert!(send(&postgres, "m").await.is_accepted());
    called().await;
    for (n, publishing) in [(1, Publishing::Queues), (2, Publishing::Outbox)] {
        send_in_own_transaction(&postgres, publishing).await;
        called().await;
        send_in_handler(&postgres, publishing, n).await;
        called().await;
    }
    database.sql("SELECT tramline.send('work', '{}'), tramline.publish('a.b', '{}')");
    let said = ear.so_far().await;
    assert!(said.is_empty(), "{said:?}");
}

#[tokio::test]
async fn who_sleeps_in_another_process_is_woken_long_before_it_looks() {
    let Some((database, postgres)) = opened().await else { return };
    let mut ear = Ear::at(&database).await;
    let mut consumer = receiver(&open(&database).await, 1).await;
    let waiting = tokio::spawn(async move { consumer.next().await.map(drop) });
    until(&database, ASLEEP, |asleep| asleep == ["1"]).await;
    let sent = Instant::now();
    assert!(send(&postgres, "m").await.is_accepted());
    within(waiting).await.unwrap().unwrap();
    assert!(sent.elapsed() < LOOK, "it has looked by itself");
    let queue = column(&database, "SELECT id FROM tramline.queue");
    assert_eq!(ear.next().await.payload(), queue[0]);
}

/// Until it is durable, it would hold up the commits of all others.
#[tokio::test]
async fn a_transaction_with_what_others_write_never_says_it_itself() {
    let Some((database, postgres)) = opened().await else { return };
    put_to_sleep(&database);
    let mut ear = Ear::at(&database).await;
    let queue = column(&database, "SELECT id FROM tramline.queue").remove(0);
    for (n, publishing) in [(1, Publishing::Queues), (2, Publishing::Outbox)] {
        let woken = if n == 1 { &*queue } else { "0" };
        let own = send_in_own_transaction(&postgres, publishing).await;
        let said = ear.next().await;
        assert_eq!(said.payload(), woken);
        assert_ne!(said.process_id(), own, "in a transaction of the program's own");
        let handler = send_in_handler(&postgres, publishing, n).await;
        let said = ear.next().await;
        assert_eq!(said.payload(), woken);
        assert_ne!(said.process_id(), handler, "in that of a handler");
    }
    let said = ear.so_far().await;
    assert!(said.is_empty(), "more than once: {said:?}");
}

/// Nobody else knows of its commit.
#[tokio::test]
async fn a_transaction_in_plain_sql_says_it_itself_unless_it_does_not_want_to() {
    let Some((database, postgres)) = opened().await else { return };
    put_to_sleep(&database);
    let mut ear = Ear::at(&database).await;
    for (wake, times) in [("false", 0), ("true", 1)] {
        let mut transaction = postgres.pool().begin().await.unwrap();
        let backend: i32 = sqlx::query_scalar(PID).fetch_one(&mut *transaction).await.unwrap();
        let send = format!("SELECT tramline.send('work', '{{}}', wake => {wake})");
        let send = sqlx::raw_sql(sqlx::AssertSqlSafe(send));
        send.execute(&mut *transaction).await.unwrap();
        assert!(ear.so_far().await.is_empty(), "it is not committed");
        transaction.commit().await.unwrap();
        let said: Vec<_> = ear.so_far().await.iter().map(Notification::process_id).collect();
        assert_eq!(said, vec![backend; times], "wake => {wake}");
    }
}

#[tokio::test]
async fn however_many_commits_follow_each_other_others_are_told_every_five_milliseconds_at_most() {
    const COMMITS: usize = 500;
    const PAUSE: Duration = Duration::from_millis(5);
    let Some((database, _first)) = opened().await else { return };
    put_to_sleep(&database);
    // Many to a moment.
    let postgres = Postgres::connect(database.url_with("options", "-csynchronous_commit=off"));
    let postgres = postgres.await.unwrap();
    let mut ear = Ear::at(&database).await;
    let begun = Instant::now();
    for id in 0..COMMITS {
        assert!(send(&postgres, &id.to_string()).await.is_accepted());
    }
    let said = ear.so_far().await.len();
    let lasted = begun.elapsed();
    let most = 1 + lasted.as_micros() / PAUSE.as_micros();
    assert!(said as u128 <= most, "{said} times in {lasted:?}");
    assert!(said > 0);
}
