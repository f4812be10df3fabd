//! Servers in trouble: nothing is lost, and work goes on when it is over.

use crate::kit::{
    allow_to_work, begin, column, next, opened, prepared, put, receiver, send, send_within, until,
    within,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;
use tramline_core::ErrorKind;
use tramline_core::clock::{Clock, SystemClock};
use tramline_core::compose::Publishing;
use tramline_core::health::Health;
use tramline_core::settlement::{Settled, Settlement};
use tramline_core::store::{CommitError, Committed, Store};
use tramline_core::transport::{Delivery, Receiver, Sent, Transport};
use tramline_postgres::{Postgres, PostgresReceiver, sqlx};
use tramline_services::or_skip;
use tramline_services::postgres::Server;
use tramline_services::testing::{Database, Role};

/// How many messages are sent and handled.
const COUNT: usize = 60;
/// For who waits for a server that is being started, which may take long where others use the disk.
const PATIENCE_WITH_SERVER: Duration = Duration::from_secs(210);

/// Sends and handles messages, and has `disturb` called in the middle of it; what it is given waits until so
/// many were handled. What a sender is not sure of it sends again.
async fn nothing_is_lost(
    database: &Database,
    postgres: &Postgres,
    disturb: impl FnOnce(&dyn Fn(usize)) + Send + 'static,
) {
    let handled = watch::Sender::new(0);
    let (one, mut counted) = (postgres.clone(), handled.subscribe());
    let sending = tokio::spawn(async move {
        for id in 0..COUNT {
            // So that the trouble comes in the middle.
            counted.wait_for(|handled| handled + 10 >= id).await.unwrap();
            loop {
                match send(&one, &id.to_string()).await {
                    Sent::Accepted { .. } => break,
                    Sent::Refused(error) | Sent::Unknown(error) => {
                        assert!(error.is_transient(), "{error}");
                    }
                }
            }
        }
    });
    let (counted, runtime) = (handled.subscribe(), Handle::current());
    let mut disturbing = tokio::task::spawn_blocking(move || {
        let reached = |count: usize| {
            let mut counted = counted.clone();
            runtime.block_on(counted.wait_for(|handled| *handled >= count)).unwrap();
        };
        reached(COUNT / 3);
        disturb(&reached);
    });
    let mut consumer = receiver(postgres, 5).await;
    let mut seen = BTreeSet::new();
    while seen.len() < COUNT {
        seen.extend(handle_one(postgres, &mut consumer).await);
        handled.send_replace(seen.len());
    }
    timeout(PATIENCE_WITH_SERVER, &mut disturbing).await.unwrap().unwrap();
    within(sending).await.unwrap();
    // What nobody knows the end of was settled, or comes once more.
    let is_empty = |left: &[String]| left == ["0"];
    let emptied = until(database, "SELECT count(*) FROM tramline.message", is_empty);
    tokio::pin!(emptied);
    loop {
        tokio::select! {
            _ = &mut emptied => break,
            again = handle_one(postgres, &mut consumer) => assert!(again.is_subset(&seen)),
        }
    }
}

/// Waits for a message and settles it. Answers its id, if one has come.
async fn handle_one(postgres: &Postgres, consumer: &mut PostgresReceiver) -> BTreeSet<String> {
    // As the engine does after an error.
    let delivery = match timeout(PATIENCE_WITH_SERVER, consumer.next()).await.unwrap() {
        Ok(delivery) => delivery.unwrap(),
        Err(error) => {
            assert!(error.is_transient(), "{error}");
            *consumer = receiver(postgres, 5).await;
            return BTreeSet::new();
        }
    };
    let id = delivery.envelope().id.as_ref().unwrap().to_string();
    if let Err(error) =
        timeout(PATIENCE_WITH_SERVER, delivery.settle(Settlement::Ack)).await.unwrap()
    {
        assert!(error.is_transient(), "{error}");
    }
    BTreeSet::from([id])
}

/// A server of the test's own, with a database that is ready.
async fn own_server(word: &str) -> Option<(Arc<impl std::ops::Deref<Target = Server>>, Database)> {
    let server = or_skip(Server::temporary(word, &[]))?;
    let database = Database::on(server.url().parse().unwrap());
    Some((Arc::new(server), database))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_of_the_server_work_goes_on_and_nothing_is_lost() {
    let Some((server, database)) = own_server("crash").await else { return };
    prepared(&database).await;
    // What a crash has made unclear comes back after a lease at the latest, within what is waited here.
    let options = Postgres::options(database.url.as_str()).lease(Duration::from_secs(10));
    let postgres = options.open().await.unwrap();
    let crashed = server.clone();
    let crash = move |reached: &dyn Fn(usize)| {
        for more in [0, COUNT / 4] {
            reached(COUNT / 3 + more);
            crashed.kill().unwrap();
            crashed.up().unwrap();
        }
    };
    nothing_is_lost(&database, &postgres, crash).await;
    // Handlers' connections, too.
    let mut tx = begin(&postgres, Publishing::Queues).await;
    put(&mut tx, 1).await;
    let committed = within(postgres.commit(tx, Vec::new(), Vec::new())).await;
    assert_eq!(committed.unwrap(), Committed::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_all_sessions_were_ended_work_goes_on_and_nothing_is_lost() {
    let Some((database, postgres)) = opened().await else { return };
    let database = Arc::new(database);
    let cut = database.clone();
    nothing_is_lost(&database, &postgres, move |_| {
        for _ in 0..3 {
            cut.cut_all();
        }
    })
    .await;
}

/// The connections to send and to settle are made anew when they are needed, and nobody needs them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_rests_is_well_again_when_the_server_is() {
    let Some((database, postgres)) = opened().await else { return };
    assert!(matches!(send(&postgres, "m").await, Sent::Accepted { .. }));
    let mut consumer = receiver(&postgres, 1).await;
    let settled = next(&mut consumer).await.settle(Settlement::Ack).await;
    assert_eq!(settled.unwrap(), Settled::Done);
    database.cut_all();
    for is_connected in [false, true] {
        within(async {
            while (postgres.health() == Health::Connected) != is_connected {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// Who was told that it may be in has perhaps sent it again, under another id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_its_sender_has_given_up_while_the_server_was_away_is_not_written_later() {
    let Some((server, database)) = own_server("given-up").await else { return };
    let postgres = prepared(&database).await;
    assert!(matches!(send(&postgres, "before").await, Sent::Accepted { .. }));
    server.kill().unwrap();
    // One finds the connection lost, and another waits for a new one.
    for id in ["lost", "waits"] {
        let sent = send_within(&postgres, id, Duration::from_secs(1)).await;
        assert!(!matches!(sent, Sent::Accepted { .. }), "{id}: {sent:?}");
    }
    server.up().unwrap();
    assert!(matches!(send(&postgres, "after").await, Sent::Accepted { .. }));
    let ids = "SELECT envelope::json ->> 'id' FROM tramline.message ORDER BY place";
    assert_eq!(column(&database, ids), ["before", "after"]);
}

/// As a standby that is about to be promoted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_read_only_for_a_while_is_waited_for() {
    let Some((server, database)) = own_server("read-only").await else { return };
    let postgres = prepared(&database).await;
    let set = server.clone();
    nothing_is_lost(&database, &postgres, move |_| {
        let be = |word: &str| {
            let set_to = format!("ALTER SYSTEM SET default_transaction_read_only = {word}");
            for statement in [&*set_to, "SELECT pg_reload_conf()"] {
                set.psql("postgres", statement).unwrap();
            }
        };
        be("on");
        let log = || std::fs::read_to_string(set.log()).unwrap();
        // Both who send and who take have run into it, more than once.
        while log().matches("in a read-only transaction").count() < 6 {
            std::thread::sleep(Duration::from_millis(10));
        }
        be("off");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_that_take_too_long_are_tried_again_until_they_get_through() {
    let Some((database, _postgres)) = opened().await else { return };
    let queue = &column(&database, "SELECT id FROM tramline.queue")[0];
    for limit in ["statement_timeout", "lock_timeout"] {
        let url = database.url_with("options", &format!("-c {limit}=300ms")).replace('+', "%20");
        let postgres = Postgres::connect(url).await.unwrap();
        let mut holder = postgres.pool().begin().await.unwrap();
        let hold = |sql: String| sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
        // Nobody else may take.
        hold(format!("SELECT pg_advisory_xact_lock(-1953260906, {queue})"))
            .execute(&mut *holder)
            .await
            .unwrap();
        assert!(matches!(send(&postgres, limit).await, Sent::Accepted { .. }));
        let mut consumer = receiver(&postgres, 1).await;
        let taken = tokio::spawn(async move { next(&mut consumer).await });
        let tried_again = async || {
            let starts = "SELECT query_start FROM pg_stat_activity
                 WHERE wait_event_type = 'Lock' AND datname = current_database()";
            let begun = until(&database, starts, |waiting| waiting.len() == 1).await;
            until(&database, starts, |waiting| waiting.len() == 1 && *waiting != begun).await;
        };
        tried_again().await;
        holder.rollback().await.unwrap();
        let delivery = within(taken).await.unwrap();
        assert_eq!(delivery.deliveries(), Some(1), "{limit}");

        let mut holder = postgres.pool().begin().await.unwrap();
        hold("SELECT FROM tramline.message FOR UPDATE".into()).execute(&mut *holder).await.unwrap();
        let settled = tokio::spawn(delivery.settle(Settlement::Ack));
        tried_again().await;
        holder.rollback().await.unwrap();
        assert_eq!(within(settled).await.unwrap().unwrap(), Settled::Done);

        // Who sends is told, and may send again.
        let mut holder = postgres.pool().begin().await.unwrap();
        hold("LOCK TABLE tramline.message".into()).execute(&mut *holder).await.unwrap();
        let refused = match send(&postgres, "late").await {
            Sent::Refused(error) => error.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(refused.contains("timeout [SQLSTATE"), "{refused}");
        holder.rollback().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_too_many_are_connected_a_program_waits_for_room() {
    let Some((database, _postgres)) = opened().await else { return };
    let role = Role::of(&database);
    let who = &role.name;
    allow_to_work(&database, &role);
    database.sql(&format!("ALTER ROLE \"{who}\" CONNECTION LIMIT 2"));
    let postgres = Postgres::connect(role.url()).await.unwrap();
    database.sql(&format!("ALTER ROLE \"{who}\" CONNECTION LIMIT 1"));
    let error = Postgres::connect(role.url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    assert!(text.contains("too many connections") && text.contains("raise"), "{text}");

    let one = postgres.clone();
    let sending = tokio::spawn(async move { send(&one, "waits").await });
    within(async {
        loop {
            match postgres.health() {
                Health::Reconnecting { error, .. } if error.contains("too many") => return,
                _ => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    database.sql(&format!("ALTER ROLE \"{who}\" CONNECTION LIMIT -1"));
    assert!(matches!(within(sending).await.unwrap(), Sent::Accepted { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_learns_while_it_works_that_a_newer_one_has_changed_the_tables() {
    let Some((database, postgres)) = opened().await else { return };
    let mut consumer = receiver(&postgres, 1).await;
    let waiting = tokio::spawn(async move { consumer.next().await.map(drop) });
    // As the newer program's migration ends.
    database.sql(
        "UPDATE tramline.schema SET version = 99;
         UPDATE tramline.topology SET version = version + 1",
    );
    let Sent::Refused(error) = send(&postgres, "m").await else { panic!("it is sent") };
    assert_eq!(error.kind(), ErrorKind::Outdated, "{error}");
    let error = within(waiting).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Outdated, "{error}");
    assert_eq!(column(&database, "SELECT count(*) FROM tramline.message"), ["0"]);
}

/// One that sends nothing looks by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_only_waits_learns_of_it_too() {
    let Some((database, postgres)) = opened().await else { return };
    let mut consumer = receiver(&postgres, 1).await;
    let waiting = tokio::spawn(async move { consumer.next().await.map(drop) });
    database.sql("UPDATE tramline.schema SET version = 99");
    let error = within(waiting).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Outdated, "{error}");
}

/// It writes nothing more either, where its messages go through another broker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_learns_of_it_too() {
    let Some((database, postgres)) = opened().await else { return };
    let relay = postgres.clone();
    // As a relay that waits, which is looked after.
    let waiting = tokio::spawn(async move { relay.outbox().appended().await });
    database.sql("UPDATE tramline.schema SET version = 99");
    let claim = || postgres.outbox().claim(1, Duration::from_secs(60), SystemClock.now());
    let error = within(async {
        loop {
            match claim().await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => return error,
            }
        }
    })
    .await;
    assert_eq!(error.kind(), ErrorKind::Outdated, "{error}");
    let tx = begin(&postgres, Publishing::Outbox).await;
    let ended = postgres.commit(tx, Vec::new(), Vec::new()).await;
    let Err(CommitError::Store(error)) = ended else { panic!("{ended:?}") };
    assert_eq!(error.kind(), ErrorKind::Outdated, "{error}");
    waiting.abort();
}
