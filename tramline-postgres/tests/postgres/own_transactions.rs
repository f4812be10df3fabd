//! Messages in transactions of the program's own.

use crate::kit::{appended, bodies, declare, name, note, numbers, opened, outside, subscribe};
use tramline_core::ErrorKind;
use tramline_core::compose::Publishing;
use tramline_core::store::Store;
use tramline_core::topology::QueueSpec;
use tramline_postgres::Postgres;
use tramline_postgres::sqlx;
use tramline_postgres::sqlx::postgres::PgPool;
use tramline_services::testing::Database;

async fn pool(database: &Database) -> PgPool {
    PgPool::connect(database.url.as_str()).await.unwrap()
}

#[tokio::test]
async fn messages_leave_if_the_program_commits_and_only_then() {
    let Some((database, postgres)) = opened().await else { return };
    subscribe(&database, "work");
    let pool = pool(&database).await;
    for publishing in [Publishing::Queues, Publishing::Outbox] {
        let writer = postgres.writer(outside(publishing));
        for commits in [false, true] {
            let mut transaction = pool.begin().await.unwrap();
            let insert = sqlx::query("INSERT INTO numbers VALUES (1)");
            insert.execute(&mut *transaction).await.unwrap();
            let mut outbox = writer.outbox(&mut transaction);
            outbox.publish(&note("event")).await.unwrap();
            outbox.send("work", &note("command")).await.unwrap();
            assert_eq!(bodies(&database, "work"), [""; 0], "nobody sees it yet");
            assert_eq!(appended(&database), "0");
            if commits {
                transaction.commit().await.unwrap();
                writer.committed();
            } else {
                transaction.rollback().await.unwrap();
                assert_eq!(numbers(&database), [""; 0]);
                assert_eq!(bodies(&database, "work"), [""; 0]);
                assert_eq!(appended(&database), "0");
            }
        }
        match publishing {
            Publishing::Queues => assert_eq!(bodies(&database, "work"), ["event", "command"]),
            Publishing::Outbox => assert_eq!(appended(&database), "2"),
        }
        database.sql("DELETE FROM numbers; DELETE FROM tramline.message");
    }
}

#[tokio::test]
async fn a_queue_that_was_declared_a_moment_ago_is_known_and_none_is_not() {
    let Some((database, postgres)) = opened().await else { return };
    let pool = pool(&database).await;
    declare(&database, QueueSpec::new(name("new")));
    declare(&database, QueueSpec { length_max: Some(1), ..QueueSpec::new(name("short")) });
    let writer = postgres.writer(outside(Publishing::Queues));
    let mut transaction = pool.begin().await.unwrap();
    let mut outbox = writer.outbox(&mut transaction);
    outbox.send("new", &note("a")).await.unwrap();
    outbox.send("short", &note("b")).await.unwrap();
    let full = outbox.send("short", &note("c")).await.unwrap_err();
    assert!(!full.is_permanent() && full.to_string().contains("short"), "{full}");
    let unknown = outbox.send("nowhere", &note("d")).await.unwrap_err();
    assert!(unknown.is_permanent() && unknown.to_string().contains("nowhere"), "{unknown}");
    let foreign = outbox.publish_to_exchange("e", "k", &note("e")).await.unwrap_err();
    assert!(foreign.is_permanent(), "{foreign}");
    // What was refused leaves the transaction as it was.
    transaction.commit().await.unwrap();
    assert_eq!(
        (bodies(&database, "new"), bodies(&database, "short")),
        (vec!["a".into()], vec!["b".into()])
    );
}

#[tokio::test]
async fn a_transaction_on_another_database_is_refused() {
    let Some((_database, postgres)) = opened().await else { return };
    let (other, _other) = opened().await.unwrap();
    let empty = Database::fresh().unwrap();
    for publishing in [Publishing::Queues, Publishing::Outbox] {
        let writer = postgres.writer(outside(publishing));
        for elsewhere in [&other, &empty] {
            let pool = pool(elsewhere).await;
            let mut transaction = pool.begin().await.unwrap();
            let refused = writer.outbox(&mut transaction).send("work", &note("lost")).await;
            let failure = refused.unwrap_err();
            assert!(
                failure.is_permanent() && failure.to_string().contains("database"),
                "{failure}"
            );
            drop(transaction);
            let given = Postgres::options(_database.url.as_str()).pool(pool).open().await;
            assert!(given.is_err(), "nor is its pool taken");
        }
    }
    assert_eq!((bodies(&other, "work"), appended(&other)), (Vec::new(), "0".into()));
}

#[tokio::test]
async fn a_pool_of_the_programs_own_serves_handlers() {
    let Some((database, _)) = opened().await else { return };
    let pool = pool(&database).await;
    let given = Postgres::options(database.url.as_str()).pool(pool.clone()).open().await.unwrap();
    let mut tx = given.begin(outside(Publishing::Queues)).await.unwrap();
    crate::kit::put(&mut tx, 1).await;
    tx.send("work", &note("sent")).unwrap();
    given.commit(tx, Vec::new(), Vec::new()).await.unwrap();
    assert_eq!(
        (numbers(&database), bodies(&database, "work")),
        (vec!["1".into()], vec!["sent".into()])
    );
    pool.close().await;
    let mut tx = given.begin(outside(Publishing::Queues)).await.unwrap();
    assert_eq!(tx.connection().await.err().map(|error| error.kind()), Some(ErrorKind::Closed));
}
