//! Statements that are queued, and units of work that end together.

use crate::kit::{
    admit, appended, begin, bodies, column, declare, delivered, name, note, numbers, open, opened,
    put, within,
};
use futures_util::future::join_all;
use tramline_core::Failure;
use tramline_core::compose::Publishing;
use tramline_core::store::{CommitError, Committed, Condition, Refusal, Store};
use tramline_core::topology::QueueSpec;
use tramline_postgres::{Postgres, PostgresTx, sqlx};
use tramline_services::testing::Database;

const PUT: &str = "INSERT INTO numbers VALUES ($1)";

async fn queueing(postgres: &Postgres, n: i64) -> PostgresTx {
    let mut tx = begin(postgres, Publishing::Queues).await;
    tx.write(PUT, (n,)).unwrap();
    tx
}

async fn commit(
    postgres: &Postgres,
    tx: PostgresTx,
    conditions: Vec<Condition>,
) -> Result<Committed, CommitError> {
    within(postgres.commit(tx, conditions, Vec::new())).await
}

/// The text of a handler's failure, and whether it is for good.
fn failure(ended: Result<Committed, CommitError>) -> (String, bool) {
    match ended {
        Err(CommitError::Handler(failure)) => (failure.to_string(), failure.is_permanent()),
        other => panic!("{other:?}"),
    }
}

fn left(database: &Database) -> String {
    column(database, "SELECT count(*) FROM tramline.message").remove(0)
}

#[tokio::test]
async fn rows_messages_and_the_ack_are_all_in_or_none() {
    let Some((database, postgres)) = opened().await else { return };
    for publishing in [Publishing::Queues, Publishing::Outbox] {
        let ack = delivered(&database, &postgres);
        let mut bad = begin(&postgres, publishing).await;
        bad.write(PUT, (1_i64,)).unwrap();
        bad.send("work", &note("bad")).unwrap();
        bad.write("INSERT INTO numbers SELECT 1 / $1::bigint", (0_i64,)).unwrap();
        let (text, is_permanent) = failure(commit(&postgres, bad, vec![ack.clone()]).await);
        assert!(text.contains("INSERT INTO numbers SELECT 1 / $1"), "{text}");
        assert!(text.contains("division by zero [SQLSTATE 22012]") && !is_permanent, "{text}");
        assert_eq!((numbers(&database).len(), left(&database)), (0, "1".into()));
        assert_eq!(appended(&database), "0");

        let mut good = begin(&postgres, publishing).await;
        good.write(PUT, (1_i64,)).unwrap();
        good.send("work", &note("good")).unwrap();
        assert_eq!(commit(&postgres, good, vec![ack]).await.unwrap(), Committed::Done);
        assert_eq!(numbers(&database), ["1"]);
        match publishing {
            Publishing::Queues => assert_eq!(bodies(&database, "work"), ["good"]),
            Publishing::Outbox => {
                assert_eq!((left(&database), appended(&database)), ("0".into(), "1".into()));
            }
        }
        database.sql("DELETE FROM numbers; DELETE FROM tramline.message");
    }
}

#[tokio::test]
async fn of_many_units_that_end_at_once_each_has_the_end_that_it_deserves() {
    let Some((database, postgres)) = opened().await else { return };
    database.sql("INSERT INTO numbers VALUES (7)");
    let done = begin(&postgres, Publishing::Queues).await;
    commit(&postgres, done, vec![admit("seen")]).await.unwrap();
    let gone = delivered(&database, &postgres);
    database.sql("DELETE FROM tramline.message");

    let units = (0..50_i64).map(|n| {
        let (database, postgres, gone) = (&database, &postgres, gone.clone());
        async move {
            let ack = delivered(database, postgres);
            let tx = queueing(postgres, n).await;
            let conditions = match n {
                8 => vec![ack, admit("seen")],
                9 => vec![admit("new"), gone],
                _ => vec![ack, admit(&format!("m{n}"))],
            };
            commit(postgres, tx, conditions).await
        }
    });
    for (n, ended) in join_all(units).await.into_iter().enumerate() {
        match n {
            7 => assert!(failure(ended).0.contains("numbers_pkey")),
            8 => assert_eq!(ended.unwrap(), Committed::Refused(vec![(1, Refusal::Duplicate)])),
            9 => assert_eq!(ended.unwrap(), Committed::Refused(vec![(1, Refusal::LeaseLost)])),
            _ => assert_eq!(ended.unwrap(), Committed::Done),
        }
    }
    let expected: Vec<String> =
        (0..50).filter(|n| ![8, 9].contains(n)).map(|n| n.to_string()).collect();
    assert_eq!(numbers(&database), expected);
    assert_eq!(left(&database), "3", "7, 8 and 9 were not acked");
    let known = "SELECT count(*) FROM tramline.inbox";
    assert_eq!(column(&database, known), ["48"], "`seen`, and 47 of 50");
}

/// Of the second it is not known that it is a duplicate until the first has committed, which it does not.
#[tokio::test]
async fn a_unit_is_no_duplicate_of_one_that_ends_with_it_and_fails() {
    let Some((database, postgres)) = opened().await else { return };
    database.sql("INSERT INTO numbers VALUES (0)");
    let units = [(1, None), (0, Some("m")), (2, Some("m")), (3, Some("m"))];
    let units = units.map(|(n, message)| {
        let postgres = &postgres;
        async move {
            let tx = queueing(postgres, n).await;
            commit(postgres, tx, message.into_iter().map(admit).collect()).await
        }
    });
    let mut ended = join_all(units).await.into_iter().skip(1);
    assert!(failure(ended.next().unwrap()).0.contains("numbers_pkey"));
    let refused = Committed::Refused(vec![(0, Refusal::Duplicate)]);
    assert_eq!(ended.next().unwrap().unwrap(), Committed::Done);
    assert_eq!(ended.next().unwrap().unwrap(), refused);
    assert_eq!(numbers(&database), ["0", "1", "2"]);
}

#[tokio::test]
async fn a_unit_that_waits_for_a_lock_does_not_hold_up_the_others() {
    let Some((database, postgres)) = opened().await else { return };
    database.sql("INSERT INTO numbers VALUES (1)");
    let mut holder = postgres.pool().begin().await.unwrap();
    sqlx::query("UPDATE numbers SET n = 1").execute(&mut *holder).await.unwrap();
    let waiting = tokio::spawn({
        let postgres = postgres.clone();
        async move {
            let mut tx = begin(&postgres, Publishing::Queues).await;
            tx.write("UPDATE numbers SET n = $1 WHERE n = 1", (100_i64,)).unwrap();
            tx.write(PUT, (101_i64,)).unwrap();
            commit(&postgres, tx, vec![admit("waiting")]).await
        }
    });
    for n in 2..40 {
        let tx = queueing(&postgres, n).await;
        assert_eq!(commit(&postgres, tx, Vec::new()).await.unwrap(), Committed::Done);
    }
    assert!(!waiting.is_finished());
    holder.rollback().await.unwrap();
    assert_eq!(within(waiting).await.unwrap().unwrap(), Committed::Done);
    let ends = "SELECT n FROM numbers WHERE n = 1 OR n >= 100 ORDER BY n";
    assert_eq!(column(&database, ends), ["100", "101"]);
}

#[tokio::test]
async fn a_statement_that_ends_the_transaction_is_not_queued_and_one_that_hides_it_fails_alone() {
    let Some((database, postgres)) = opened().await else { return };
    let mut tx = begin(&postgres, Publishing::Queues).await;
    for sql in ["COMMIT", "/* */; ROLLBACK", "SAVEPOINT a", "SET search_path = elsewhere"] {
        let refused = tx.write(sql, ()).unwrap_err();
        assert!(refused.is_permanent() && refused.to_string().contains(sql), "{refused}");
    }
    database.sql("CREATE PROCEDURE finish() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$");
    let units = (0..20).map(|n| {
        let postgres = &postgres;
        async move {
            let mut tx = queueing(postgres, n).await;
            if n == 10 {
                tx.write("CALL finish()", ()).unwrap();
                tx.write("SELECT 1 / $1", (0,)).unwrap();
            }
            if n == 11 {
                tx.write("SELECT 1; COMMIT", ()).unwrap();
            }
            commit(postgres, tx, Vec::new()).await
        }
    });
    for (n, ended) in join_all(units).await.into_iter().enumerate() {
        match n {
            10 => assert!(failure(ended).0.contains("invalid transaction termination")),
            11 => assert!(failure(ended).0.contains("multiple commands")),
            _ => assert_eq!(ended.unwrap(), Committed::Done),
        }
    }
    assert_eq!(numbers(&database).len(), 18);
}

#[tokio::test]
async fn queued_statements_run_before_what_is_asked_after_them_and_at_the_end() {
    let Some((database, postgres)) = opened().await else { return };
    let mut tx = queueing(&postgres, 1).await;
    let count = "SELECT count(*) FROM numbers";
    let counted =
        sqlx::query_scalar::<_, i64>(count).fetch_one(tx.connection().await.unwrap()).await;
    assert_eq!(counted.unwrap(), 1);
    put(&mut tx, 2).await;
    tx.write("UPDATE numbers SET n = n + $1", (10_i64,)).unwrap();
    assert_eq!(commit(&postgres, tx, Vec::new()).await.unwrap(), Committed::Done);
    assert_eq!(numbers(&database), ["11", "12"]);
}

#[tokio::test]
async fn a_handler_that_overlooks_a_queued_statement_that_failed_or_was_cut_short_commits_nothing()
{
    let Some((database, postgres)) = opened().await else { return };
    let ack = delivered(&database, &postgres);
    let mut tx = queueing(&postgres, 1).await;
    tx.write("SELECT 1 / $1", (0,)).unwrap();
    let error = tx.connection().await.unwrap_err().to_string();
    assert!(error.contains("SELECT 1 / $1") && error.contains("division by zero"), "{error}");
    let (text, _) = failure(commit(&postgres, tx, vec![ack.clone()]).await);
    assert!(text.contains("a queued statement has failed"), "{text}");

    let mut tx = queueing(&postgres, 1).await;
    put(&mut tx, 2).await;
    tx.write("SELECT pg_sleep(60)", ()).unwrap();
    let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '% SELECT pg_sleep(60)'
         AND state = 'active' AND datname = current_database()";
    tokio::select! {
        connection = tx.connection() => panic!("{connection:?}"),
        () = within(async { while column(&database, sleeps) == ["0"] { tokio::task::yield_now().await } }) => {}
    }
    assert!(tx.connection().await.is_err());
    let (text, _) = failure(commit(&postgres, tx, vec![ack]).await);
    assert!(text.contains("was dropped in the middle"), "{text}");
    assert_eq!((numbers(&database).len(), left(&database)), (0, "1".into()));
}

/// What asks a queue for room is not for a group, and is what it was.
#[tokio::test]
async fn a_unit_whose_queue_is_full_fails_with_all_that_it_has_written() {
    let Some((database, postgres)) = opened().await else { return };
    declare(&database, QueueSpec { length_max: Some(1), ..QueueSpec::new(name("small")) });
    for (n, expected) in [(1, true), (2, false)] {
        let mut tx = queueing(&postgres, n).await;
        tx.send("small", &note("one")).unwrap();
        assert_eq!(commit(&postgres, tx, Vec::new()).await.is_ok(), expected);
    }
    assert_eq!((numbers(&database), bodies(&database, "small").len()), (vec!["1".into()], 1));
}

#[tokio::test]
async fn a_statement_outlives_a_change_of_what_it_reads() {
    let Some((database, postgres)) = opened().await else { return };
    for n in 1..4_i64 {
        let mut tx = queueing(&postgres, n).await;
        tx.write("SELECT * FROM numbers", ()).unwrap();
        assert_eq!(commit(&postgres, tx, Vec::new()).await.unwrap(), Committed::Done);
        database.sql(&format!("ALTER TABLE numbers ADD COLUMN c{n} int"));
    }
    assert_eq!(numbers(&database).len(), 3);
}

#[tokio::test]
async fn a_wrong_statement_or_number_of_parameters_fails_its_own_unit_alone() {
    let Some((database, postgres)) = opened().await else { return };
    let units = (0..10).map(|n| {
        let postgres = &postgres;
        async move {
            let mut tx = queueing(postgres, n).await;
            match n {
                3 => tx.write("INSERT INTO nowhere VALUES ($1)", (n,)).unwrap(),
                4 => tx.write("SELECT $1::int + $2::int", (1,)).unwrap(),
                _ => {}
            }
            commit(postgres, tx, Vec::new()).await
        }
    });
    for (n, ended) in join_all(units).await.into_iter().enumerate() {
        match n {
            3 => assert!(failure(ended).0.contains("\"nowhere\" does not exist [SQLSTATE 42P01]")),
            4 => assert!(failure(ended).0.contains("takes 2 parameters, and 1 were given")),
            _ => assert_eq!(ended.unwrap(), Committed::Done),
        }
    }
    assert_eq!(numbers(&database).len(), 8);
}

/// It may be in, so nobody but who asked may run it again.
#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_unknown_and_is_not_run_again() {
    let Some((database, postgres)) = opened().await else { return };
    database.sql(
        "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             PERFORM set_config('lock_timeout', '0', true); PERFORM pg_advisory_xact_lock(7);
             RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON numbers DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW WHEN (new.n = 1) EXECUTE FUNCTION hold()",
    );
    let mut holder = postgres.pool().begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(7)").execute(&mut *holder).await.unwrap();
    let tx = queueing(&postgres, 1).await;
    let committing = tokio::spawn({
        let postgres = postgres.clone();
        async move { commit(&postgres, tx, Vec::new()).await }
    });
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event = 'advisory' AND query = 'COMMIT'";
    within(async {
        while column(&database, kill) == ["0"] {
            tokio::task::yield_now().await
        }
    })
    .await;
    holder.rollback().await.unwrap();
    let ended = within(committing).await.unwrap();
    assert!(matches!(ended, Err(CommitError::Unknown(_))), "{ended:?}");
    assert_eq!(numbers(&database), [""; 0]);
    let next = queueing(&postgres, 2).await;
    assert_eq!(commit(&postgres, next, Vec::new()).await.unwrap(), Committed::Done);
}

/// Whoever ends a unit again because its end is not known finds out: its message was admitted, or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_when_back_ends_are_terminated_under_load() {
    const UNITS: i64 = 1000;
    const WORKERS: i64 = 64;
    let Some((database, postgres)) = opened().await else { return };
    database.sql("CREATE TABLE ledger (n bigint NOT NULL)");
    let looking = open(&database).await;
    let killer = tokio::spawn(async move {
        // In the middle of their work: at statements, at the call behind them, and at the commit.
        let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND state <> 'idle' AND (query LIKE 'INSERT INTO ledger%'
                 OR query LIKE '%tramline.conclude%' OR query = 'COMMIT')
             AND pid <> pg_backend_pid()";
        let mut killed = 0;
        while killed < 20 {
            if let Ok(count) = sqlx::query_scalar::<_, i64>(kill).fetch_one(looking.pool()).await {
                killed += count;
            }
            tokio::task::yield_now().await;
        }
    });
    let next = std::sync::atomic::AtomicI64::new(0);
    let is_over = || killer.is_finished();
    let workers = (0..WORKERS).map(|_| {
        let (postgres, next, is_over) = (&postgres, &next, &is_over);
        async move {
            loop {
                let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if n >= UNITS && is_over() {
                    return;
                }
                end_at_last(postgres, n).await;
            }
        }
    });
    tokio::time::timeout(std::time::Duration::from_secs(120), join_all(workers)).await.unwrap();
    within(killer).await.unwrap();
    // Each worker had one number that it did not use.
    let units = (next.into_inner() - WORKERS).to_string();
    let counted = "SELECT count(*) || ' ' || count(DISTINCT n) FROM ledger";
    assert_eq!(column(&database, counted), [format!("{units} {units}")]);
    let inbox = "SELECT count(*) FROM tramline.inbox";
    assert_eq!(column(&database, inbox).join(""), units);
    assert_eq!(left(&database), units, "one message of each");
}

async fn end_at_last(postgres: &Postgres, n: i64) {
    loop {
        let mut tx = begin(postgres, Publishing::Queues).await;
        tx.write("INSERT INTO ledger VALUES ($1)", (n,)).unwrap();
        tx.send("work", &note("done")).unwrap();
        match postgres.commit(tx, vec![admit(&format!("m{n}"))], Vec::new()).await {
            Ok(Committed::Done) => return,
            Ok(Committed::Refused(refused)) if refused[0].1 == Refusal::Duplicate => return,
            // Its other self has not ended yet.
            Ok(Committed::Refused(refused)) if refused[0].1 == Refusal::Busy => {}
            Err(CommitError::Store(_) | CommitError::Unknown(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// As after a failover, where the former primary is still there.
#[tokio::test]
async fn a_connection_to_a_server_that_was_read_only_is_not_kept() {
    const ALTER: &str =
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only
        = on', current_database()); END $$";
    const RESET: &str = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET
        default_transaction_read_only', current_database()); END $$";
    let Some((database, postgres)) = opened().await else { return };
    database.sql(ALTER);
    // Who connects now may only read, for as long as the connection lasts.
    database.cut_all();
    let mut ended = Ok(Committed::Done);
    while !matches!(&ended, Err(CommitError::Store(error)) if error.to_string().contains("25006")) {
        ended = commit(&postgres, queueing(&postgres, 1).await, Vec::new()).await;
    }
    let mut operator = postgres.pool().acquire().await.unwrap();
    for sql in ["SET default_transaction_read_only = off", RESET] {
        sqlx::query(sql).execute(&mut *operator).await.unwrap();
    }
    within(async {
        while commit(&postgres, queueing(&postgres, 2).await, Vec::new()).await.is_err() {}
    })
    .await;
    assert_eq!(numbers(&database), ["2"]);
}

#[tokio::test]
async fn only_a_server_that_is_away_excuses_a_handler() {
    let Some((database, postgres)) = opened().await else { return };
    for (sql, state) in [("SELECT $1::int", "08P01"), ("SELECT 1/0", "22012")] {
        let mut tx = begin(&postgres, Publishing::Queues).await;
        let ran = sqlx::query(sql).execute(tx.connection().await.unwrap()).await;
        let failure = Failure::retryable(ran.unwrap_err());
        assert!(failure.to_string().len() > 1 && !postgres.is_away(&failure), "{state}: {failure}");
    }
    let mut tx = begin(&postgres, Publishing::Queues).await;
    tx.connection().await.unwrap();
    database.cut_all();
    let cut = sqlx::query("SELECT 1").execute(tx.connection().await.unwrap()).await;
    assert!(postgres.is_away(&Failure::retryable(cut.unwrap_err())));
}
