//! What went wrong in between is put right by itself.

use crate::kit::{
    bodies, column, name, next, note, open, opened, outside, put_messages, receiver, send, until,
    within,
};
use std::time::Duration;
use tramline_core::clock::{Clock, Deadline, SystemClock};
use tramline_core::compose::{Publishing, Target};
use tramline_core::dead::Reason;
use tramline_core::settlement::{Marks, Settled, Settlement};
use tramline_core::topology::QueueSpec;
use tramline_core::transport::{Delivery, Receiver, Sender, Sent, Transport};
use tramline_postgres::{Postgres, sqlx};
use tramline_services::testing::Database;

/// So that it is looked after twice a second.
const LEASE: Duration = Duration::from_secs(3);

async fn open_with_short_lease(database: &Database) -> Postgres {
    Postgres::options(database.url.as_str()).lease(LEASE).open().await.unwrap()
}

/// A queue with one lane for each key, and in it one message for each of these moments before now.
fn lined_up(database: &Database, keys: &[&str], before: impl Iterator<Item = u32>) {
    let spec = serde_json::to_string(&QueueSpec::new(name("lined"))).unwrap();
    database.sql(&format!(
        "INSERT INTO tramline.queue (name, spec, ordering, priority_max, is_unique, is_particular)
         VALUES ('lined', '{spec}', 1, 0, false, true)"
    ));
    for (nth, before) in before.enumerate() {
        let key = keys[nth % keys.len()];
        database.sql(&format!(
            "INSERT INTO tramline.delayed
             SELECT id, tramline.new_place(255), 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, '{key}', NULL, '{{}}',
                 '{nth}', 1000000 - {before} FROM tramline.queue WHERE name = 'lined'"
        ));
    }
}

fn take(database: &Database, queue: &str, most: u32) -> Vec<String> {
    column(
        database,
        &format!(
            "SELECT convert_from(body, 'UTF8') FROM tramline.queue q, tramline.take(
                 q.id, {most}, 1000000, (random() * 1e15)::bigint, 7, 'test', 60000000, NULL)
             WHERE q.name = '{queue}' ORDER BY place"
        ),
    )
}

#[tokio::test]
async fn what_is_due_together_lines_up_by_its_due_time() {
    let Some((database, _postgres)) = opened().await else { return };
    // The last one was due first.
    lined_up(&database, &["k"], 1..=100);
    assert_eq!(take(&database, "lined", 1), ["99"]);
    let arrived = "SELECT convert_from(body, 'UTF8') FROM tramline.behind ORDER BY arrival";
    let expected: Vec<String> = (0..99).rev().map(|nth: u32| nth.to_string()).collect();
    assert_eq!(column(&database, arrived), expected);
}

#[tokio::test]
async fn a_key_too_long_for_an_index_holds_nobody_up() {
    let Some((database, _postgres)) = opened().await else { return };
    // What repeats itself would be compressed into a page of the index.
    let long: String =
        (0..1000).map(|n: u64| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    lined_up(&database, &[&long, "short"], [4, 3, 2, 1].into_iter());
    assert_eq!(take(&database, "lined", 10), ["0", "1"], "the first of each key");
    let lane = "SELECT octet_length(lane) FROM tramline.lane ORDER BY 1 DESC";
    assert_eq!(column(&database, lane), ["71", "5"]);
}

#[tokio::test]
async fn what_has_expired_hides_nothing_behind_it() {
    let Some((database, _postgres)) = opened().await else { return };
    put_messages(&database, 60);
    database.sql(
        "UPDATE tramline.message SET expires_at = 1 WHERE place IN (
             SELECT place FROM tramline.message ORDER BY place OFFSET 1 LIMIT 30)",
    );
    assert_eq!(take(&database, "work", 10).len(), 10);
    assert_eq!(column(&database, "SELECT count(*) FROM tramline.dead"), ["30"]);
}

/// Fewer than were asked for would mean that nothing more is there.
#[tokio::test]
async fn who_finds_that_much_has_expired_is_told_that_there_may_be_more() {
    let Some((database, _postgres)) = opened().await else { return };
    put_messages(&database, 2001);
    database.sql("UPDATE tramline.message SET expires_at = 1");
    assert_eq!(take(&database, "work", 100), [""], "a row without a place");
    assert_eq!(take(&database, "work", 100), [""; 0]);
}

/// Who takes one at a time waits for no more than some of them, and for none twice.
#[tokio::test]
async fn of_a_backlog_that_has_expired_each_call_removes_a_part() {
    const EXPIRED: usize = 5000;
    let Some((database, postgres)) = opened().await else { return };
    put_messages(&database, EXPIRED + 1);
    database.sql(
        "UPDATE tramline.message SET expires_at = 1
         WHERE place < (SELECT max(place) FROM tramline.message)",
    );
    let mut consumer = receiver(&postgres, 1).await;
    let delivery = next(&mut consumer).await;
    assert_eq!(delivery.settle(Settlement::Ack).await.unwrap(), Settled::Done);
    let dead = "SELECT count(*), count(DISTINCT xmin::text) FROM tramline.dead";
    assert_eq!(database.sql(dead), [[Some(EXPIRED.to_string()), Some("3".to_owned())]]);
}

/// Autovacuum looks once a minute at most, and by default not for long.
#[tokio::test]
async fn what_was_deleted_is_cleared_away_while_somebody_is_at_work() {
    let Some((database, postgres)) = opened().await else { return };
    for table in ["message", "outbox"] {
        database.sql(&format!("ALTER TABLE tramline.{table} SET (autovacuum_enabled = false)"));
    }
    database.sql(
        "INSERT INTO tramline.message
         SELECT 0, place, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, '', ''
         FROM generate_series(1, 100001) AS place;
         DELETE FROM tramline.message",
    );
    let _consumer = receiver(&postgres, 1).await;
    let vacuums = "SELECT vacuum_count, n_dead_tup FROM pg_stat_all_tables
         WHERE schemaname = 'tramline' AND relname IN ('message', 'outbox') ORDER BY relname";
    let rows = |database: &Database| {
        let rows = database.sql(vacuums).into_iter().flatten().flatten();
        rows.collect::<Vec<String>>()
    };
    within(async {
        while rows(&database) != ["1", "0", "0", "0"] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// As a call leaves it whose connection was cut before it was carried out.
#[tokio::test]
async fn a_claim_that_its_process_does_not_know_of_is_given_back() {
    let Some((database, _postgres)) = opened().await else { return };
    let postgres = open_with_short_lease(&database).await;
    let mut consumer = receiver(&postgres, 10).await;
    put_messages(&database, 1);
    let held = next(&mut consumer).await;
    database.sql("SELECT tramline.send('work', '{}', wake => false)");
    database.sql(
        "INSERT INTO tramline.claim
         SELECT 4711, c.process, m.queue, false, ARRAY[m.place] FROM tramline.claim c, tramline.message m
         WHERE NOT m.place = ANY (c.places)",
    );
    let given_back = next(&mut consumer).await;
    assert_eq!(given_back.deliveries(), Some(1), "nobody had it");
    for delivery in [held, given_back] {
        assert_eq!(delivery.settle(Settlement::Ack).await.unwrap(), Settled::Done);
    }
    until(&database, "SELECT count(*) FROM tramline.claim", |left| left == ["0"]).await;
}

/// A commit whose answer was lost may still be under way.
#[tokio::test]
async fn what_is_let_go_of_while_it_is_being_settled_goes_to_nobody() {
    let Some((database, postgres)) = opened().await else { return };
    let short = open_with_short_lease(&database).await;
    put_messages(&database, 1);
    let mut consumer = receiver(&short, 1).await;
    let held = next(&mut consumer).await;
    let mut settling = postgres.pool().begin().await.unwrap();
    sqlx::query("DELETE FROM tramline.message").execute(&mut *settling).await.unwrap();
    drop(held);
    until(&database, "SELECT kept FROM tramline.claim", |kept| kept == ["t"]).await;
    assert_eq!(take(&database, "work", 1), [""; 0]);
    settling.commit().await.unwrap();
    until(&database, "SELECT count(*) FROM tramline.claim", |left| left == ["0"]).await;
    assert_eq!(bodies(&database, "work"), [""; 0]);
}

#[tokio::test]
async fn who_sleeps_for_longer_than_a_lease_is_still_woken() {
    let Some((database, _postgres)) = opened().await else { return };
    let postgres = open_with_short_lease(&database).await;
    let mut consumer = receiver(&postgres, 1).await;
    put_messages(&database, 1);
    next(&mut consumer).await.settle(Settlement::Ack).await.unwrap();
    let waiting = tokio::spawn(async move { consumer.next().await });
    let asleep = "SELECT count(*) FROM tramline.asleep";
    until(&database, asleep, |asleep| asleep == ["1"]).await;
    // The lease that it had is over, and somebody looks after that.
    database.sql("UPDATE tramline.process SET lease_until = 1");
    database.sql("SELECT tramline.take_back(tramline.clock())");
    until(&database, asleep, |asleep| asleep == ["1"]).await;
    // Of a process that is gone, which never took anything.
    database.sql("INSERT INTO tramline.asleep SELECT queue, 4711 FROM tramline.asleep");
    until(&database, asleep, |asleep| asleep == ["1"]).await;
    put_messages(&database, 1);
    assert!(within(waiting).await.unwrap().unwrap().is_some());
}

/// A server that took over had lost what was declared last, and then something else was declared.
#[tokio::test]
async fn routes_that_were_lost_are_not_used() {
    let Some((database, _first)) = opened().await else { return };
    let postgres = open(&database).await;
    database.sql("UPDATE tramline.topology SET version = version - 1");
    let scope = outside(Publishing::Queues);
    let outgoing = scope.compose(&note("a"), Target::Queue(name("work"))).unwrap();
    let sender = postgres.sender().await.unwrap();
    let deadline = Deadline::after(SystemClock.now(), Duration::from_secs(10));
    let sent = within(sender.send(&[outgoing], deadline)).await;
    assert!(matches!(&sent[..], [Sent::Accepted { .. }]), "{sent:?}");
    assert_eq!(bodies(&database, "work"), ["a"]);
}

fn retry() -> Settlement {
    Settlement::Retry {
        after: Duration::ZERO,
        failures: 1,
        notes: Vec::new(),
        marks: Marks::default(),
    }
}

fn dies() -> Settlement {
    Settlement::DeadLetter { reason: Reason::Permanent, failures: 1, notes: Vec::new() }
}

/// A server that took over had lost a message that somebody holds, and gives its place to another.
#[tokio::test]
async fn who_holds_a_message_that_was_lost_does_nothing_to_the_one_that_stands_there_now() {
    for how in [|| Settlement::Ack, retry, dies] as [fn() -> Settlement; 3] {
        let Some((database, postgres)) = opened().await else { return };
        assert!(send(&postgres, "lost").await.is_accepted());
        let mut consumer = receiver(&postgres, 1).await;
        let held = next(&mut consumer).await;
        let place = "SELECT place FROM tramline.message";
        let stood = column(&database, place);
        database.sql(&format!(
            "DELETE FROM tramline.message; DELETE FROM tramline.claim;
             SELECT setval('tramline.number', {} & ((1::bigint << 55) - 1), false)",
            stood[0]
        ));
        let after_it = open(&database).await;
        assert!(send(&after_it, "confirmed").await.is_accepted());
        assert_eq!(column(&database, place), stood);
        assert_eq!(within(held.settle(how())).await.unwrap(), Settled::LeaseLost);
        assert_eq!(column(&database, place), stood, "{:?}", how());
    }
}

/// A transaction that a handler's time limit has cut off goes on in the server, and holds its message.
#[tokio::test]
async fn a_message_that_is_being_settled_elsewhere_holds_up_nobody() {
    for how in [retry, dies] as [fn() -> Settlement; 2] {
        let Some((database, postgres)) = opened().await else { return };
        put_messages(&database, 2);
        let mut consumer = receiver(&postgres, 2).await;
        let (first, second) = (next(&mut consumer).await, next(&mut consumer).await);
        let mut elsewhere = postgres.pool().begin().await.unwrap();
        let first_place = "DELETE FROM tramline.message
            WHERE place = (SELECT min(place) FROM tramline.message)";
        sqlx::query(first_place).execute(&mut *elsewhere).await.unwrap();
        assert_eq!(within(first.settle(how())).await.unwrap(), Settled::LeaseLost);
        assert_eq!(within(second.settle(Settlement::Ack)).await.unwrap(), Settled::Done);
        let held = "SELECT count(*) FROM tramline.claim c
            JOIN tramline.message m ON m.place = ANY (c.places)";
        assert_eq!(column(&database, held), ["1"], "nobody else may take it");
        elsewhere.rollback().await.unwrap();
        assert_eq!(column(&database, "SELECT count(*) FROM tramline.message"), ["1"]);
    }
}

/// Two who take at once must see each other, whatever this user's transactions are otherwise.
#[tokio::test]
async fn a_default_isolation_of_the_database_changes_nothing() {
    let Some((database, first)) = opened().await else { return };
    database.sql(
        "DO $$ BEGIN EXECUTE format(
             'ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database());
         END $$",
    );
    put_messages(&database, 10);
    // All wait for their turn at the queue.
    let mut turn = first.pool().begin().await.unwrap();
    let enter = sqlx::query("SELECT tramline.enter(id) FROM tramline.queue");
    enter.execute(&mut *turn).await.unwrap();
    let mut consumers = Vec::new();
    for _ in 0..3 {
        let mut consumer = receiver(&open(&database).await, 100).await;
        consumers.push(tokio::spawn(async move {
            let mut held = Vec::new();
            while held.len() < 10 {
                held.push(consumer.next().await.unwrap().unwrap());
            }
        }));
    }
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    until(&database, waiting, |waiting| waiting == ["3"]).await;
    turn.rollback().await.unwrap();
    // Behind them.
    database.sql("SELECT tramline.enter(id) FROM tramline.queue");
    let held = "SELECT count(place) FROM tramline.claim, unnest(places) AS place";
    assert_eq!(column(&database, held), ["10"]);
    consumers.iter().for_each(|consumer| consumer.abort());
}
