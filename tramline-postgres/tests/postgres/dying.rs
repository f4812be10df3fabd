//! Processes that die, and some that only seem to.

use crate::kit::{column, next, open, opened, put_messages, receiver, until, within};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tramline_core::clock::{Clock, SystemClock};
use tramline_core::settlement::{Settled, Settlement};
use tramline_core::store::Store;
use tramline_core::transport::Delivery;
use tramline_postgres::Postgres;
use tramline_services::testing::Database;

/// Where the child finds its database; only set for the child.
const CHILD_DATABASE: &str = "TRAMLINE_TEST_CHILD_DATABASE";
/// How many messages the child takes.
const CHILD_HOLDS: usize = 5;
/// Much longer than any of these tests takes.
const LEASE: Duration = Duration::from_secs(3600);

/// The backends that show that somebody who holds something lives.
const BACKENDS: &str = "SELECT backend FROM tramline.process
     WHERE backend IS NOT NULL AND id IN (SELECT process FROM tramline.holder)";

/// Not a test by itself: what the tests below start as a process of its own.
#[tokio::test]
async fn child() {
    let Ok(url) = std::env::var(CHILD_DATABASE) else { return };
    let postgres = Postgres::options(url).lease(LEASE).open().await.unwrap();
    let mut receiver = receiver(&postgres, CHILD_HOLDS as u32).await;
    let mut held = Vec::new();
    for _ in 0..CHILD_HOLDS {
        held.push(next(&mut receiver).await);
    }
    holds(held.len()).await
}

/// The same, with rows of the outbox.
#[tokio::test]
async fn child_that_relays() {
    let Ok(url) = std::env::var(CHILD_DATABASE) else { return };
    let postgres = Postgres::options(url).lease(LEASE).open().await.unwrap();
    let held = postgres.outbox().claim(CHILD_HOLDS as u32, LEASE, SystemClock.now()).await.unwrap();
    holds(held.len()).await
}

async fn holds(count: usize) {
    let told = format!("\nthe child holds {count}\n");
    std::io::stdout().write_all(told.as_bytes()).unwrap();
    std::future::pending::<()>().await;
}

/// Starts a child and waits until it holds what it is to hold.
fn start(child: &str, database: &Database) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", child, "--nocapture"])
        .env(CHILD_DATABASE, database.url.as_str())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let all = format!("the child holds {CHILD_HOLDS}");
    let holds = output.lines().map_while(Result::ok).any(|line| line == all);
    assert!(holds, "the child ended before it held everything");
    child
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_held_comes_back_long_before_its_lease_is_over() {
    let Some((database, postgres)) = opened().await else { return };
    put_messages(&database, CHILD_HOLDS);
    let mut child = start("dying::child", &database);
    let mut consumer = receiver(&postgres, 10).await;
    until(&database, BACKENDS, |backends| backends.len() == 1).await;
    let killed = Instant::now();
    child.kill().unwrap();
    child.wait().unwrap();
    let mut deliveries = Vec::new();
    for _ in 0..CHILD_HOLDS {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.deliveries(), Some(2), "a death counts");
        deliveries.push(delivery);
    }
    writeln!(std::io::stderr(), "noticed after {:?}", killed.elapsed()).unwrap();
    assert_eq!(column(&database, "SELECT count(DISTINCT process) FROM tramline.claim"), ["1"]);
    for delivery in deliveries {
        assert_eq!(delivery.settle(Settlement::Ack).await.unwrap(), Settled::Done);
    }
}

/// Others of its keys would wait, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_relay_had_is_sent_by_another_long_before_its_lease_is_over() {
    let Some((database, postgres)) = opened().await else { return };
    database.sql(&format!(
        "SELECT tramline.publish('a.b', '{{}}', key => 'k') FROM generate_series(0, {CHILD_HOLDS})"
    ));
    let mut child = start("dying::child_that_relays", &database);
    let claim = || postgres.outbox().claim(100, LEASE, SystemClock.now());
    assert_eq!(claim().await.unwrap(), [], "the last one has its key");
    until(&database, BACKENDS, |backends| backends.len() == 1).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let claimed = within(async {
        loop {
            let claimed = claim().await.unwrap();
            if !claimed.is_empty() {
                return claimed;
            }
            postgres.outbox().appended().await;
        }
    })
    .await;
    assert_eq!(claimed.len(), CHILD_HOLDS + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_only_the_connection_that_shows_that_it_lives_keeps_what_it_holds() {
    let Some((database, postgres)) = opened().await else { return };
    put_messages(&database, 2);
    let mut consumer = receiver(&postgres, 2).await;
    let (one, other) = (next(&mut consumer).await, next(&mut consumer).await);
    for delivery in [one, other] {
        let shown = until(&database, BACKENDS, |backends| backends.len() == 1).await;
        database.sql(&format!("SELECT pg_terminate_backend({}, 10000)", shown[0]));
        until(&database, BACKENDS, |now| now.len() == 1 && now != shown).await;
        // As others would look, for longer than a dead process has.
        let looked = Instant::now();
        while looked.elapsed() < Duration::from_secs(2) {
            database.sql("SELECT tramline.miss(0), tramline.take_back(tramline.clock())");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(delivery.settle(Settlement::Ack).await.unwrap(), Settled::Done);
    }
    assert_eq!(
        column(&database, "SELECT name FROM tramline.tally WHERE name = 'redelivered'"),
        [""; 0]
    );
}

/// As a process does that nobody shows to live: only its lease counts.
#[tokio::test]
async fn nobody_is_thought_dead_who_has_not_shown_that_he_lives() {
    let Some((database, _postgres)) = opened().await else { return };
    put_messages(&database, 1);
    let other = open(&database).await;
    let mut consumer = receiver(&other, 1).await;
    let _held = next(&mut consumer).await;
    until(&database, BACKENDS, |backends| backends.len() == 1).await;
    // A number that no session has.
    for (backend, left) in [("NULL", "1"), ("-1", "0")] {
        database.sql(&format!(
            "UPDATE tramline.process SET backend = {backend}, missed_at = 1;
             SELECT tramline.miss(0); SELECT tramline.take_back(tramline.clock())"
        ));
        assert_eq!(column(&database, "SELECT count(*) FROM tramline.claim"), [left]);
    }
}

/// Its connection was dropped on the way, and nobody has told it.
#[tokio::test]
async fn who_is_not_shown_to_live_any_more_learns_it_and_is_not_thought_dead() {
    let Some((database, _postgres)) = opened().await else { return };
    for (session, cut) in [("NULL", "f"), ("-5", "t")] {
        let cut_and_shown = format!(
            "SELECT cut FROM tramline.tend(7, 'x', 30000000, NULL, '{{}}', '{{1}}', {session}, false);
             SELECT coalesce(backend::text, 'none') FROM tramline.process WHERE id = 7"
        );
        assert_eq!(column(&database, &cut_and_shown), [cut, "none"], "{session}");
    }
}
