//! How a handler's transaction ends.

use crate::kit::{
    admit, appended, begin, bodies, column, delivered, id, note, numbers, open, opened, outside,
    put, within,
};
use std::sync::Arc;
use tramline_core::ErrorKind;
use tramline_core::compose::Publishing;
use tramline_core::envelope::Envelope;
use tramline_core::store::{
    CommitError, Committed, Condition, DatabaseId, Refusal, Sighting, Store,
};
use tramline_core::transport::Ticket;
use tramline_postgres::{Postgres, sqlx};
use tramline_services::testing::Database;

/// Each of these, with an ack, a number and a message, must come to nothing.
async fn commits_nothing(
    database: &Database,
    postgres: &Postgres,
    sql: &'static str,
) -> CommitError {
    let ack = delivered(database, postgres);
    let mut tx = begin(postgres, Publishing::Queues).await;
    put(&mut tx, 1).await;
    tx.send("work", &note("sent")).unwrap();
    // As a handler that does not look at the answer.
    let _ = sqlx::raw_sql(sql).execute(tx.connection().await.unwrap()).await;
    let committed = within(postgres.commit(tx, vec![ack], Vec::new())).await;
    let left = column(database, "SELECT count(*) FROM tramline.message");
    assert_eq!(left, ["1"], "after {sql}: it is not acked, and nothing was sent");
    database.sql("DELETE FROM tramline.message; DELETE FROM numbers");
    committed.expect_err("it must not commit")
}

#[tokio::test]
async fn a_handler_that_ends_its_transaction_itself_fails_for_good_and_acks_nothing() {
    let Some((database, postgres)) = opened().await else { return };
    for sql in ["COMMIT", "ROLLBACK", "COMMIT; BEGIN", "ROLLBACK; BEGIN", "COMMIT AND CHAIN"] {
        let error = commits_nothing(&database, &postgres, sql).await;
        let CommitError::Handler(failure) = error else { panic!("{sql}: {error}") };
        assert!(failure.is_permanent(), "{sql}");
        assert!(failure.to_string().contains("ended inside of it"), "{failure}");
    }
    // Its connection is as good as before.
    let mut tx = begin(&postgres, Publishing::Queues).await;
    put(&mut tx, 2).await;
    assert_eq!(postgres.commit(tx, Vec::new(), Vec::new()).await.unwrap(), Committed::Done);
    assert_eq!(numbers(&database), ["2"]);
}

#[tokio::test]
async fn a_handler_that_overlooks_a_failed_statement_fails_and_acks_nothing() {
    let Some((database, postgres)) = opened().await else { return };
    let error = commits_nothing(&database, &postgres, "SELECT 1/0").await;
    let CommitError::Handler(failure) = error else { panic!("{error}") };
    assert!(!failure.is_permanent());
    assert!(failure.to_string().contains("a statement of its transaction had failed"), "{failure}");
}

#[tokio::test]
async fn what_only_the_commit_finds_wrong_is_the_handlers_failure() {
    let Some((database, postgres)) = opened().await else { return };
    database.sql(
        "CREATE TABLE parents (n bigint PRIMARY KEY);
         ALTER TABLE numbers ADD FOREIGN KEY (n) REFERENCES parents DEFERRABLE INITIALLY DEFERRED",
    );
    let error = commits_nothing(&database, &postgres, "SELECT 1").await;
    let CommitError::Handler(failure) = error else { panic!("{error}") };
    assert!(failure.to_string().contains("foreign key"), "{failure}");
}

#[tokio::test]
async fn a_transaction_that_is_dropped_leaves_nothing() {
    let Some((database, postgres)) = opened().await else { return };
    for publishing in [Publishing::Queues, Publishing::Outbox] {
        let mut tx = begin(&postgres, publishing).await;
        put(&mut tx, 1).await;
        tx.send("work", &note("lost")).unwrap();
        drop(tx);
    }
    // The same row would have to wait for a transaction that is still open.
    let mut tx = begin(&postgres, Publishing::Queues).await;
    within(put(&mut tx, 1)).await;
    postgres.commit(tx, Vec::new(), Vec::new()).await.unwrap();
    assert_eq!((numbers(&database), appended(&database)), (vec!["1".into()], "0".into()));
    assert_eq!(bodies(&database, "work"), [""; 0]);
}

#[tokio::test]
async fn an_ack_is_part_of_the_transaction_with_and_without_writes() {
    let Some((database, postgres)) = opened().await else { return };
    for writes in [true, false] {
        let ack = delivered(&database, &postgres);
        let mut tx = begin(&postgres, Publishing::Queues).await;
        if writes {
            put(&mut tx, 1).await;
        }
        tx.send("work", &note("sent")).unwrap();
        let committed = postgres.commit(tx, vec![ack.clone()], Vec::new()).await.unwrap();
        assert_eq!(committed, Committed::Done);
        assert_eq!(bodies(&database, "work"), ["sent"], "acked, and another one sent");

        // A second time it is somebody else's.
        let mut late = begin(&postgres, Publishing::Queues).await;
        if writes {
            put(&mut late, 2).await;
        }
        late.send("work", &note("late")).unwrap();
        let committed = postgres.commit(late, vec![admit("new"), ack], Vec::new()).await.unwrap();
        assert_eq!(committed, Committed::Refused(vec![(1, Refusal::LeaseLost)]));
        assert_eq!(bodies(&database, "work"), ["sent"]);
        assert_eq!(column(&database, "SELECT count(*) FROM tramline.inbox"), ["0"]);
        database.sql("DELETE FROM tramline.message");
    }
    assert_eq!(numbers(&database), ["1"]);
}

#[tokio::test]
async fn a_ticket_of_another_database_is_an_error() {
    let Some((database, postgres)) = opened().await else { return };
    let Condition::Ack(ticket) = delivered(&database, &postgres) else { unreachable!() };
    let ack = Condition::Ack(Ticket { database: DatabaseId::new("another"), ..ticket });
    let tx = begin(&postgres, Publishing::Queues).await;
    let error = postgres.commit(tx, vec![ack], Vec::new()).await.unwrap_err();
    let CommitError::Store(error) = error else { panic!("{error}") };
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
}

/// Two processes at work on the same message: the second is told at once, whatever the first still does.
#[tokio::test]
async fn a_duplicate_of_what_is_at_work_elsewhere_comes_back_busy_and_waits_for_nobody() {
    let Some((database, first)) = opened().await else { return };
    let second = open(&database).await;
    // The first one's COMMIT waits for a lock that the test holds.
    database.sql(
        "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON numbers DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW WHEN (new.n = 1) EXECUTE FUNCTION hold()",
    );
    let mut holder = second.pool().begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(7)").execute(&mut *holder).await.unwrap();
    let mut tx = begin(&first, Publishing::Queues).await;
    put(&mut tx, 1).await;
    let committing = tokio::spawn({
        let first = first.clone();
        async move { first.commit(tx, vec![admit("m")], Vec::new()).await }
    });
    within(async {
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        while column(&database, waiting) == ["0"] {
            tokio::task::yield_now().await;
        }
    })
    .await;

    for writes in [true, false] {
        let mut tx = begin(&second, Publishing::Queues).await;
        if writes {
            put(&mut tx, 2).await;
        }
        let committed = within(second.commit(tx, vec![admit("m")], Vec::new())).await.unwrap();
        assert_eq!(committed, Committed::Refused(vec![(0, Refusal::Busy)]));
    }
    let other = begin(&second, Publishing::Queues).await;
    let committed = within(second.commit(other, vec![admit("other")], Vec::new())).await.unwrap();
    assert_eq!(committed, Committed::Done, "other messages are not held up");

    holder.rollback().await.unwrap();
    assert_eq!(within(committing).await.unwrap().unwrap(), Committed::Done);
    let tx = begin(&second, Publishing::Queues).await;
    let committed = second.commit(tx, vec![admit("m")], Vec::new()).await.unwrap();
    assert_eq!(committed, Committed::Refused(vec![(0, Refusal::Duplicate)]));
    assert_eq!(numbers(&database), ["1"]);
    let counted = "SELECT sum(by) FROM tramline.tally WHERE name = 'duplicates'";
    assert_eq!(column(&database, counted), ["1"]);
}

/// Other brokers carry what PostgreSQL keeps in no text, or in no index.
#[tokio::test]
async fn messages_are_remembered_by_any_name_and_key() {
    let Some((_database, postgres)) = opened().await else { return };
    let sighting = |name: &str, key: &str| {
        let envelope = Envelope {
            name: Some(name.to_owned().into()),
            idempotency_key: Some(key.to_owned()),
            ..Envelope::default()
        };
        Sighting::new(&Arc::from("payment"), &id("m"), &envelope)
    };
    // What repeats itself would be compressed into a page of the index.
    let long: String =
        (0..1000).map(|n: u64| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let all = [
        sighting("a\0", "k"),
        sighting("a", "k\0"),
        sighting(&long, "k"),
        sighting("a", &long),
        sighting("a", &format!("{long}y")),
    ];
    for sighting in &all {
        let admit = vec![Condition::Admit(sighting.clone())];
        let tx = postgres.begin(outside(Publishing::Queues)).await.unwrap();
        let committed = postgres.commit(tx, admit, Vec::new()).await.unwrap();
        assert_eq!(committed, Committed::Done);
    }
    let known = postgres.admitted(&all).await.unwrap();
    assert!(known.iter().all(|known| *known == Some(Refusal::Duplicate)), "{known:?}");
}

#[tokio::test]
async fn connections_that_were_cut_while_idle_are_no_handlers_failure() {
    let Some((database, postgres)) = opened().await else { return };
    for round in 0..3 {
        let mut tx = begin(&postgres, Publishing::Queues).await;
        let mut other = begin(&postgres, Publishing::Queues).await;
        put(&mut tx, 2 * round).await;
        put(&mut other, 2 * round + 1).await;
        for tx in [tx, other] {
            postgres.commit(tx, Vec::new(), Vec::new()).await.unwrap();
        }
        database.cut_all();
    }
    assert_eq!(numbers(&database).len(), 6);
}

#[tokio::test]
async fn a_connection_that_is_cut_under_a_handler_leaves_nothing() {
    let Some((database, postgres)) = opened().await else { return };
    let ack = delivered(&database, &postgres);
    let mut tx = begin(&postgres, Publishing::Queues).await;
    put(&mut tx, 1).await;
    database.cut_all();
    let error = postgres.commit(tx, vec![ack.clone()], Vec::new()).await.unwrap_err();
    let CommitError::Store(error) = error else { panic!("{error}") };
    assert!(error.is_transient(), "{error}");
    let mut tx = begin(&postgres, Publishing::Queues).await;
    put(&mut tx, 1).await;
    assert_eq!(postgres.commit(tx, vec![ack], Vec::new()).await.unwrap(), Committed::Done);
}
