//! Temporary queues: gone with whoever declared them, and with all that stands in them.

use crate::kit::{DAY, Place, message, soon, until, within, work};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use tramline_core::clock::{Clock, ManualClock, SystemClock};
use tramline_core::name::{QueueName, QueueRef, TopicName};
use tramline_core::operate::Operate;
use tramline_core::topology::{QueueSpec, Rule, Subscription, Topology};
use tramline_core::transport::{Destination, Outgoing, Receiver, Sender, Sent, Source, Transport};
use tramline_sqlite::Sqlite;
use tramline_sqlite::rusqlite::Connection;

/// Where the child finds the file; only set for the child.
const CHILD_FILE: &str = "TRAMLINE_TEST_TEMPORARY_FILE";

/// `work` and a temporary queue, which both subscribe to `orders`.
fn topology(temporary: &str) -> Topology {
    let temporary = QueueName::new(temporary).unwrap();
    let orders = TopicName::new("orders").unwrap();
    let subscription = |queue: &QueueName| Subscription {
        queue: queue.clone(),
        topic: orders.clone(),
        rules: vec![Rule::subject("#")],
    };
    Topology {
        subscriptions: vec![subscription(&work()), subscription(&temporary)],
        queues: vec![
            QueueSpec::new(work()),
            QueueSpec { temporary: true, ..QueueSpec::new(temporary) },
        ],
        topics: vec![orders],
    }
}

/// One event to both queues, and one message to the temporary queue alone.
async fn fill(sqlite: &Sqlite, temporary: &str) {
    let address = sqlite.address(&QueueName::new(temporary).unwrap()).unwrap();
    let orders = TopicName::new("orders").unwrap();
    let both = Destination::Topic { name: orders, subject: "orders.placed".into() };
    let batch = [both, Destination::Address(address)].map(|to| Outgoing { to, ..message("a") });
    let sent = sqlite.sender().await.unwrap().send(&batch, soon()).await;
    assert!(sent.iter().all(Sent::is_accepted), "{sent:?}");
}

/// How many rows there are of queues, subscriptions, bodies, and messages that are ready.
fn rows(place: &Place) -> [i64; 4] {
    let connection = Connection::open(place.path()).unwrap();
    ["tramline_queue", "tramline_subscription", "tramline_body", "tramline_ready"].map(|table| {
        let count = format!("SELECT count(*) FROM {table}");
        connection.query_row(&count, [], |row| row.get(0)).unwrap()
    })
}

#[tokio::test]
async fn closing_a_handle_removes_its_temporary_queues_and_no_others() {
    let place = Place::new();
    let (one, other) = (place.open().await, place.open().await);
    one.declare(&topology("one")).await.unwrap();
    fill(&one, "one").await;
    other.declare(&topology("other")).await.unwrap();
    assert_eq!(rows(&place), [3, 3, 2, 3]);
    one.close(soon()).await.unwrap();
    // The event is still in `work`, and its body with it.
    assert_eq!(rows(&place), [2, 2, 1, 1]);
    let queues: Vec<_> = other.queues().await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(queues, ["other", "work"]);
    assert_eq!(other.address(&QueueName::new("one").unwrap()), None);
}

/// Not a test by itself: what the test below starts as a process of its own.
#[tokio::test]
async fn child() {
    let Ok(path) = std::env::var(CHILD_FILE) else { return };
    let sqlite = Sqlite::open(path).await.unwrap();
    sqlite.declare(&topology("passing")).await.unwrap();
    fill(&sqlite, "passing").await;
    writeln!(std::io::stdout(), "\nthe child has declared").unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_leaves_no_temporary_queue_behind_and_nobody_may_take_its_name_before() {
    let place = Place::new();
    let sqlite = place.isolated().open().await.unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "temporary::child", "--nocapture"])
        .env(CHILD_FILE, place.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    assert!(output.lines().map_while(Result::ok).any(|line| line.contains("the child has")));
    assert_eq!(rows(&place), [2, 2, 2, 3]);
    let taken = sqlite.declare(&topology("passing")).await.unwrap_err();
    assert!(taken.to_string().contains("temporary queue of another process"), "{taken}");
    child.kill().unwrap();
    child.wait().unwrap();
    within(until(async || rows(&place), |rows| *rows == [1, 1, 1, 1])).await;
    sqlite.declare(&topology("passing")).await.unwrap();
}

/// Asleep for longer than its lease, as laptops are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_given_up_has_its_temporary_queues_again_when_it_moves() {
    let place = Place::new();
    let asleep = Arc::new(ManualClock::at(SystemClock.now()));
    let sqlite = place.isolated().clock(asleep.clone()).lease(DAY).open().await.unwrap();
    sqlite.declare(&topology("passing")).await.unwrap();
    let name = QueueName::new("passing").unwrap();
    let mut receiver = sqlite.receiver(&Source::of(QueueRef::Main(name.clone()), 1)).await.unwrap();
    fill(&sqlite, "passing").await;
    // Another process finds that the lease is over.
    let later = Arc::new(ManualClock::at(SystemClock.now().after(2 * DAY)));
    let other = place.isolated().clock(later).open().await.unwrap();
    other
        .declare(&Topology { queues: vec![QueueSpec::new(work())], ..topology("x") })
        .await
        .unwrap_err();
    within(until(async || rows(&place), |rows| rows[0] == 1)).await;
    // It moves again: what stood in the queue is lost, what comes now is not.
    crate::kit::send(&sqlite, ["moves"]).await;
    within(until(async || sqlite.address(&name), |address| address.is_some())).await;
    fill(&sqlite, "passing").await;
    let delivery = within(receiver.next()).await.unwrap().unwrap();
    assert_eq!(crate::kit::id(&delivery), "a");
    assert_eq!(rows(&place)[1], 2, "and its subscription");
    drop(other);
}
