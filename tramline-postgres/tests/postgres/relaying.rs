//! Relays: how they are woken, and what they look at.

use crate::kit::{appended, begin, column, note, open, opened, until, within};
use std::time::{Duration, Instant};
use tramline_core::clock::{Clock, SystemClock, Timestamp};
use tramline_core::compose::Publishing;
use tramline_core::store::{OutboxRow, Store};
use tramline_postgres::{Postgres, sqlx};

const LEASE: Duration = Duration::from_secs(60);
/// How long a relay sleeps whom nobody wakes, and a little less.
const LOOK: Duration = Duration::from_millis(4500);

fn now() -> Timestamp {
    SystemClock.now()
}

async fn claimed(postgres: &Postgres, now: Timestamp) -> Vec<OutboxRow> {
    postgres.outbox().claim(100, LEASE, now).await.unwrap()
}

/// Waits as a relay does that has found nothing.
async fn rests(postgres: &Postgres) {
    assert_eq!(claimed(postgres, now()).await, []);
    postgres.outbox().appended().await;
}

#[tokio::test]
async fn a_relay_that_sleeps_is_woken_by_those_who_append_elsewhere() {
    let Some((database, relay)) = opened().await else { return };
    let writer = open(&database).await;
    // The first rest is over once others can wake it.
    within(async {
        while column(&database, "SELECT count(*) FROM tramline.asleep WHERE queue = 0") == ["0"] {
            rests(&relay).await;
        }
    })
    .await;
    let mut tx = begin(&writer, Publishing::Outbox).await;
    tx.publish(&note("a")).unwrap();
    let waiting = tokio::spawn({
        let relay = relay.clone();
        async move { relay.outbox().appended().await }
    });
    let begun = Instant::now();
    writer.commit(tx, Vec::new(), Vec::new()).await.unwrap();
    within(waiting).await.unwrap();
    assert!(begun.elapsed() < LOOK, "it has looked by itself");
    assert_eq!(claimed(&relay, now()).await.len(), 1);
}

#[tokio::test]
async fn a_transaction_that_sends_from_sql_is_as_durable_as_its_owner_wants() {
    let Some((database, _postgres)) = opened().await else { return };
    database.sql("INSERT INTO tramline.asleep SELECT id, 4711 FROM tramline.queue");
    database.sql("INSERT INTO tramline.asleep VALUES (0, 4711)");
    for sends in ["tramline.send('work', '{}')", "tramline.publish('a.b', '{}')"] {
        let setting = column(
            &database,
            &format!("BEGIN; SELECT {sends}; SELECT current_setting('synchronous_commit'); COMMIT"),
        );
        assert_eq!(setting.last().map(String::as_str), Some("on"), "{sends}");
    }
}

#[tokio::test]
async fn what_waits_for_its_time_stands_aside_until_then() {
    let Some((database, postgres)) = opened().await else { return };
    database.sql("SELECT tramline.publish('a.b', '{}', key => 'k', delay => '1 hour')");
    database.sql("SELECT tramline.publish('a.b', '{}', key => 'k')");
    assert_eq!(appended(&database), "1");
    assert_eq!(postgres.outbox().depth().await.unwrap(), (2, 0));
    let rows = claimed(&postgres, now()).await;
    assert_eq!(rows.len(), 1, "it holds nothing of its key up");
    postgres.outbox().sent(&[rows[0].token]).await.unwrap();
    let due = postgres.outbox().next_due().await.unwrap().unwrap();
    let in_an_hour = now().after(Duration::from_secs(3600));
    assert!(due.since(now()) > Duration::from_secs(3500) && due <= in_an_hour, "{due:?}");
    assert_eq!(claimed(&postgres, in_an_hour.after(Duration::from_secs(2))).await.len(), 1);
}

/// Its caller runs the transaction again, after an answer that was lost.
#[tokio::test]
async fn a_message_from_sql_with_an_id_of_its_callers_is_looked_for_in_the_inbox() {
    let Some((database, _postgres)) = opened().await else { return };
    database.sql(
        "SELECT tramline.send('work', '{}', id => 'a'), tramline.send('work', '{}'),
             tramline.send('work', '{}', idempotency_key => 'order 7')",
    );
    let flags = "SELECT flags || coalesce(envelope::json ->> 'idempotency_key', '')
         FROM tramline.message ORDER BY place";
    assert_eq!(column(&database, flags), ["0", "1", "1order 7"]);
}

/// A queue of the broker is full, or a key has a row that fails.
#[tokio::test]
async fn what_waits_holds_up_nothing_but_its_key() {
    let Some((database, postgres)) = opened().await else { return };
    database.sql(
        "SELECT tramline.publish('a.b', '{}') FROM generate_series(1, 20);
         SELECT tramline.publish('a.b', '{}', key => 'k') FROM generate_series(1, 20)",
    );
    let rows = postgres.outbox().claim(21, LEASE, now()).await.unwrap();
    let tokens: Vec<_> = rows.iter().map(|row| row.token).collect();
    let later = now().after(Duration::from_secs(20));
    postgres.outbox().give_back(&tokens, later).await.unwrap();
    assert_eq!(
        claimed(&postgres, now()).await,
        [],
        "all of them wait, or stand behind one that does"
    );
    let due = postgres.outbox().next_due().await.unwrap().unwrap();
    assert!(due <= later && due.since(now()) > Duration::from_secs(5), "{due:?}");
    database.sql("SELECT tramline.publish('a.c', '{}'), tramline.publish('a.c', '{}', key => 'l')");
    let free = claimed(&postgres, now()).await;
    let keys: Vec<_> = free.iter().map(|row| row.outgoing.envelope.key.as_deref()).collect();
    assert_eq!(keys, [None, Some("l")]);
    assert_eq!(claimed(&postgres, later.after(LEASE)).await.len(), 42, "in their order again");
}

/// The call was dropped, and the server has made it all the same.
#[tokio::test]
async fn a_claim_of_which_nobody_has_heard_is_ended_by_the_next_one() {
    let Some((database, postgres)) = opened().await else { return };
    database.sql("SELECT tramline.publish('a.b', '{}', key => 'k')");
    let mut holder = postgres.pool().begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(-1953260904, 0)")
        .execute(&mut *holder)
        .await
        .unwrap();
    tokio::select! {
        _ = claimed(&postgres, now()) => panic!("another relay had its turn"),
        _ = until(&database, WAITING, |waiting| waiting == ["1"]) => {}
    }
    holder.rollback().await.unwrap();
    until(&database, "SELECT count(*) FROM tramline.relay", |taken| taken == ["1"]).await;
    let rows = claimed(&postgres, now()).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(claimed(&postgres, now()).await, [], "and only that one");
    postgres.outbox().sent(&[rows[0].token]).await.unwrap();
    assert_eq!(appended(&database), "0");
}

/// How many wait for a lock.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
     WHERE wait_event = 'advisory' AND datname = current_database()";
