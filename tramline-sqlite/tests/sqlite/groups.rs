//! Many units of work in one transaction: each is kept or undone by itself.

use crate::kit::{Place, next, numbers, put, receiver, send, within};
use std::sync::mpsc;
use std::time::Duration;
use tramline_core::Failure;
use tramline_core::settlement::Settlement;
use tramline_core::transport::Delivery;
use tramline_sqlite::rusqlite::params_from_iter;
use tramline_sqlite::{Db, Sqlite};

const INSERT: &str = "INSERT INTO numbers VALUES (?1)";

type Closure = Box<dyn Fn(&Db<'_>) -> Result<(), Failure> + Send>;

/// Runs `closures` in one group: the writer is held until all of them wait for it.
async fn in_one_group(sqlite: &Sqlite, closures: Vec<Closure>) -> Vec<Result<(), Failure>> {
    let (release, held) = mpsc::channel::<()>();
    let (running, runs) = mpsc::channel();
    let held = parking_lot::Mutex::new(held);
    let store = sqlite.clone();
    let holder = tokio::spawn(async move {
        let hold = move |_: &Db<'_>| {
            let _ = running.send(());
            let _ = held.lock().recv();
            Ok(())
        };
        store.write(hold).await
    });
    tokio::task::spawn_blocking(move || runs.recv()).await.unwrap().unwrap();
    let mut writes = Vec::new();
    for closure in closures {
        let mut write = Box::pin({
            let sqlite = sqlite.clone();
            async move { sqlite.write(move |db| closure(db)).await }
        });
        // Polled once, the job is in the writer's channel.
        let polled = futures_poll_once(&mut write).await;
        assert!(polled.is_none(), "the writer is held");
        writes.push(write);
    }
    drop(release);
    within(holder).await.unwrap().unwrap();
    let mut answers = Vec::new();
    for write in writes {
        answers.push(within(write).await);
    }
    answers
}

async fn futures_poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

fn insert(n: i64) -> Closure {
    Box::new(move |db| {
        db.execute(INSERT, [n])?;
        Ok(())
    })
}

/// The bad one stands between two good ones, which must not notice.
async fn assert_alone(bad: Closure) -> Failure {
    let place = Place::new();
    let sqlite = place.isolated().statement_limit(Duration::from_millis(300)).open().await.unwrap();
    drop(place.open().await);
    let group = vec![insert(1), insert(2), bad, insert(3), insert(4)];
    let mut answers = in_one_group(&sqlite, group).await;
    let failure = answers.remove(2).expect_err("the bad one fails");
    for answer in answers {
        answer.expect("the good ones succeed");
    }
    assert_eq!(numbers(&sqlite).await, [1, 2, 3, 4]);
    // The writer goes on as before.
    put(&sqlite, 5).await;
    failure
}

#[tokio::test]
async fn a_closure_that_fails_is_undone_alone() {
    let failure = assert_alone(Box::new(|db| {
        db.execute(INSERT, [100])?;
        Err(Failure::permanent("I do not want to"))
    }));
    let failure = failure.await;
    assert!(failure.is_permanent() && failure.to_string() == "I do not want to", "{failure}");
}

#[tokio::test]
async fn a_closure_that_panics_is_undone_alone() {
    let failure = assert_alone(Box::new(|db| {
        db.execute(INSERT, [100])?;
        panic!("out of luck");
    }));
    let failure = failure.await;
    assert!(!failure.is_permanent());
    assert_eq!(failure.to_string(), "panicked: out of luck");
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_stopped_and_charged_alone() {
    let failure = assert_alone(Box::new(|db| {
        db.execute(INSERT, [100])?;
        // An interrupted write takes the whole transaction down.
        let endless = "INSERT INTO numbers WITH RECURSIVE all_of_them (n) AS
             (SELECT 1000 UNION ALL SELECT n + 1 FROM all_of_them) SELECT n FROM all_of_them";
        db.execute(endless, [])?;
        Ok(())
    }));
    let failure = failure.await;
    assert!(!failure.is_permanent(), "{failure}");
    assert!(failure.to_string().contains("stopped after 300ms"), "{failure}");
}

#[tokio::test]
async fn a_closure_that_goes_on_after_its_transaction_was_taken_down_writes_nothing() {
    let failure = assert_alone(Box::new(|db| {
        // Ends the transaction of everybody in the group.
        let ended = db.execute("INSERT OR ROLLBACK INTO numbers VALUES (1)", []);
        assert!(ended.is_err());
        // Would commit by itself.
        let alone = db.execute(INSERT, [100]);
        assert!(alone.is_err());
        Ok(())
    }));
    let failure = failure.await;
    assert!(failure.to_string().contains("ended the common transaction"), "{failure}");
}

#[tokio::test]
async fn transaction_control_and_settings_are_refused() {
    for sql in [
        "COMMIT",
        "ROLLBACK",
        "BEGIN",
        "SAVEPOINT mine",
        "RELEASE tramline",
        "ROLLBACK TO tramline",
        "ATTACH ':memory:' AS other",
        "PRAGMA synchronous = OFF",
        "DELETE FROM tramline_body",
        "DROP TABLE tramline_ready",
        "DROP TABLE TRAMLINE_ready",
        "CREATE TEMP TABLE tramline_body (id INTEGER PRIMARY KEY, refs, envelope, body)",
        "CREATE TEMP TABLE Tramline_Body (id INTEGER PRIMARY KEY, refs, envelope, body)",
        "CREATE TEMP VIEW tramline_ready AS SELECT 1 AS queue",
        "CREATE VIEW tramline_mine AS SELECT 1",
        "CREATE TEMP TRIGGER mine AFTER INSERT ON main.tramline_ready BEGIN SELECT 1; END",
        "CREATE VIRTUAL TABLE temp.tramline_body USING fts5(envelope)",
        "DELETE FROM sqlite_sequence",
        "UPDATE sqlite_sequence SET seq = 0",
        "INSERT INTO sqlite_sequence VALUES ('tramline_outbox', 7)",
        "DELETE FROM tramline_leased WHERE token = ?1 AND seq = ?2",
    ] {
        let failure = assert_alone(Box::new(move |db| {
            db.execute(INSERT, [100])?;
            db.execute(sql, params_from_iter(vec![1; sql.matches('?').count()]))?;
            Ok(())
        }));
        let failure = failure.await;
        assert!(failure.is_permanent(), "{sql}: {failure}");
        assert!(failure.to_string().contains("not for closures"), "{sql}: {failure}");
    }
}

#[tokio::test]
async fn the_writers_own_prepared_statements_cannot_be_reached_by_their_text() {
    let place = Place::new();
    let sqlite = place.open().await;
    // By now the writer has prepared its statements many times over.
    for n in 0..10 {
        put(&sqlite, n).await;
    }
    for sql in ["COMMIT", "BEGIN IMMEDIATE", "SAVEPOINT tramline", "ROLLBACK"] {
        let refused = sqlite.write(move |db| Ok(db.execute(sql, [])?)).await;
        let failure = refused.expect_err(sql);
        assert!(failure.to_string().contains("not for closures"), "{sql}: {failure}");
    }
}

#[tokio::test]
async fn no_statement_of_the_driver_can_be_reached_by_its_text() {
    let place = Place::new();
    let sqlite = place.open().await;
    send(&sqlite, ["a", "b"]).await;
    let delivery = next(&mut receiver(&sqlite, 1).await).await;
    // The driver prepares its ack, and keeps it.
    delivery.settle(Settlement::Ack).await.unwrap();
    let sql = "DELETE FROM tramline_leased WHERE token = ?1 AND seq = ?2";
    let refused = sqlite.write(move |db| Ok(db.execute(sql, [1, 1])?)).await;
    let failure = refused.expect_err("it is the driver's");
    assert!(failure.to_string().contains("not for closures"), "{failure}");
}

#[tokio::test]
async fn closures_cannot_give_a_temporary_table_the_name_of_one_of_the_bus() {
    let place = Place::new();
    let sqlite = place.open().await;
    let rename = "ALTER TABLE temp.mine RENAME TO tramline_body";
    let write = sqlite.write(move |db| {
        db.execute("CREATE TEMP TABLE mine (id INTEGER PRIMARY KEY)", [])?;
        Ok(db.execute(rename, [])?)
    });
    assert!(write.await.unwrap_err().to_string().contains("not for closures"));
    let sql = "UPDATE sqlite_master SET sql = '' WHERE name = 'tramline_body'";
    assert!(sqlite.write(move |db| Ok(db.execute(sql, [])?)).await.is_err());
}

#[tokio::test]
async fn closures_may_make_change_and_drop_tables_of_their_own() {
    let place = Place::new();
    let sqlite = place.open().await;
    for sql in [
        "CREATE TABLE mine (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT)",
        "INSERT INTO mine (text) VALUES ('a') -- with a comment at the end",
        "ALTER TABLE mine ADD COLUMN more",
        "ALTER TABLE mine RENAME TO ours",
        "CREATE INDEX by_text ON ours (text)",
        "CREATE VIEW seen AS SELECT text FROM ours",
        "CREATE TRIGGER noted AFTER INSERT ON ours BEGIN DELETE FROM numbers; END",
        "CREATE TEMP TABLE passing (n)",
        "DROP TABLE passing",
        "DROP VIEW seen",
        "DROP TRIGGER noted",
        "DROP TABLE ours",
        "CREATE VIRTUAL TABLE found USING fts5(text)",
        "INSERT INTO found VALUES ('a')",
        "DROP TABLE found",
    ] {
        let done = sqlite.write(move |db| Ok(db.execute(sql, [])?)).await;
        assert!(done.is_ok(), "{sql}: {}", done.unwrap_err());
    }
}

#[tokio::test]
async fn reads_can_neither_write_nor_change_settings_nor_last_for_ever() {
    let place = Place::new();
    let sqlite = place.open().await;
    for sql in ["INSERT INTO numbers VALUES (1) RETURNING n", "PRAGMA query_only = 0"] {
        let read = sqlite.read(move |snapshot| Ok(snapshot.query_map(sql, [], |_| Ok(()))?));
        assert!(read.await.is_err(), "{sql}");
    }
    let panicking = sqlite.read(|_| -> Result<(), Failure> { panic!("in a read") });
    assert_eq!(panicking.await.unwrap_err().to_string(), "panicked: in a read");
    assert!(numbers(&sqlite).await.is_empty());
}

#[tokio::test]
async fn publishing_without_a_bus_is_a_permanent_failure_that_says_what_to_do() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Ping;
    impl tramline_core::Message for Ping {
        const NAME: &'static str = "ping";
    }
    let place = Place::new();
    let sqlite = place.open().await;
    let failure = sqlite.write(|db| db.publish(&Ping)).await.unwrap_err();
    assert!(failure.is_permanent());
    assert!(failure.to_string().contains("bus.store(&store).write"), "{failure}");
}
