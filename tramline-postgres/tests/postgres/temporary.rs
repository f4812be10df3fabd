//! Temporary queues: gone with whoever declared them, and with all that stands in them.

use crate::kit::{column, id, name, open, opened, until, within};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use tramline_core::clock::{Clock, Deadline, SystemClock};
use tramline_core::envelope::Envelope;
use tramline_core::name::{QueueRef, TopicName};
use tramline_core::topology::{QueueSpec, Rule, Subscription, Topology};
use tramline_core::transport::{
    Delivery, Destination, Outgoing, Receiver, Sender, Sent, Source, Transport,
};
use tramline_postgres::Postgres;
use tramline_services::testing::{Database, PATIENCE};

/// Where the child finds its database; only set for the child.
const CHILD_DATABASE: &str = "TRAMLINE_TEST_TEMPORARY_DATABASE";

/// `work` and a temporary queue, which both subscribe to `orders`.
fn topology(temporary: &str) -> Topology {
    let orders = TopicName::new("orders").unwrap();
    let subscription = |queue: &str| Subscription {
        queue: name(queue),
        topic: orders.clone(),
        rules: vec![Rule::subject("#")],
    };
    Topology {
        subscriptions: vec![subscription("work"), subscription(temporary)],
        queues: vec![
            QueueSpec::new(name("work")),
            QueueSpec { temporary: true, ..QueueSpec::new(name(temporary)) },
        ],
        topics: vec![orders],
    }
}

/// One event to both queues, and one message to the temporary queue alone.
async fn fill(postgres: &Postgres, temporary: &str) {
    let address = postgres.address(&name(temporary)).unwrap();
    let orders = TopicName::new("orders").unwrap();
    let both = Destination::Topic { name: orders, subject: "orders.placed".into() };
    let batch = [both, Destination::Address(address)].map(|to| Outgoing {
        to,
        envelope: Envelope { id: Some(id("a")), body: "{}".into(), ..Envelope::default() }.into(),
        due: None,
        copy: None,
    });
    let sent = postgres.sender().await.unwrap().send(&batch, soon()).await;
    assert!(sent.iter().all(Sent::is_accepted), "{sent:?}");
}

fn soon() -> Deadline {
    Deadline::after(SystemClock.now(), PATIENCE)
}

/// How many rows there are of queues, subscriptions, messages, and owners.
fn rows(database: &Database) -> String {
    let counts = ["queue", "subscription", "message", "temporary"]
        .map(|table| format!("(SELECT count(*) FROM tramline.{table})"));
    column(database, &format!("SELECT concat_ws(' ', {})", counts.join(", "))).remove(0)
}

async fn until_rows(database: &Database, expected: &str) {
    within(async {
        while rows(database) != expected {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn closing_a_handle_removes_its_temporary_queues_and_no_others() {
    let Some((database, one)) = opened().await else { return };
    let other = open(&database).await;
    one.declare(&topology("one")).await.unwrap();
    fill(&one, "one").await;
    other.declare(&topology("other")).await.unwrap();
    assert_eq!(rows(&database), "3 3 3 2");
    one.close(soon()).await.unwrap();
    assert_eq!(rows(&database), "2 2 1 1");
    assert_eq!(column(&database, "SELECT name FROM tramline.queue ORDER BY 1"), ["other", "work"]);
    assert_eq!(other.address(&name("one")), None);
    fill(&other, "other").await;
}

/// Who has looked up the way to it before it went puts his message where nobody looks.
#[tokio::test]
async fn what_comes_late_into_a_removed_queue_is_swept_away() {
    let Some((database, one)) = opened().await else { return };
    one.declare(&topology("one")).await.unwrap();
    let queue = column(&database, "SELECT queue FROM tramline.temporary").remove(0);
    one.close(soon()).await.unwrap();
    database.sql(&format!(
        "INSERT INTO tramline.message SELECT {queue}, tramline.new_place(255), 0, 0, 0, 0, 0, 0, NULL, NULL,
             NULL, NULL, NULL, '{{}}', '{{}}'"
    ));
    let forget = "SELECT tramline.forget(NULL, 100)";
    database.sql(forget);
    assert_eq!(rows(&database), "1 1 1 0", "not yet: others may follow");
    database.sql("UPDATE tramline.removed SET at = at - 61000000");
    database.sql(forget);
    assert_eq!(rows(&database), "1 1 0 0");
    assert_eq!(column(&database, "SELECT count(*) FROM tramline.removed"), ["0"]);
}

/// Not a test by itself: what the test below starts as a process of its own.
#[tokio::test]
async fn child() {
    let Ok(url) = std::env::var(CHILD_DATABASE) else { return };
    let postgres = Postgres::connect(url).await.unwrap();
    postgres.declare(&topology("passing")).await.unwrap();
    fill(&postgres, "passing").await;
    writeln!(std::io::stdout(), "\nthe child has declared").unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_leaves_no_temporary_queue_behind_and_nobody_may_take_its_name_before() {
    let Some((database, postgres)) = opened().await else { return };
    // One that lives has to look.
    let work = Source::of(QueueRef::Main(name("work")), 1);
    let _consumer = postgres.receiver(&work).await.unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "temporary::child", "--nocapture"])
        .env(CHILD_DATABASE, database.url.as_str())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    assert!(output.lines().map_while(Result::ok).any(|line| line.contains("the child has")));
    assert_eq!(rows(&database), "2 2 3 1");
    let taken = postgres.declare(&topology("passing")).await.unwrap_err();
    assert!(taken.to_string().contains("temporary queue of another process"), "{taken}");
    let shown = "SELECT backend FROM tramline.process WHERE backend IS NOT NULL
         AND id IN (SELECT process FROM tramline.temporary)";
    until(&database, shown, |backends| backends.len() == 1).await;
    child.kill().unwrap();
    child.wait().unwrap();
    until_rows(&database, "1 1 1 0").await;
    postgres.declare(&topology("passing")).await.unwrap();
}

/// As others leave it that have seen no sign of it for longer than its lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_given_up_has_its_temporary_queues_again() {
    let Some((database, postgres)) = opened().await else { return };
    postgres.declare(&topology("passing")).await.unwrap();
    let source = Source::of(QueueRef::Main(name("passing")), 1);
    let mut receiver = postgres.receiver(&source).await.unwrap();
    let before = column(&database, "SELECT version FROM tramline.topology").remove(0);
    database.sql(
        "BEGIN;
         UPDATE tramline.process SET lease_until = 1
         WHERE id IN (SELECT process FROM tramline.temporary);
         SELECT tramline.take_back(2);
         COMMIT",
    );
    let again = "SELECT t.version FROM tramline.topology t, tramline.temporary";
    let is_later = |now: &[String]| now.first().is_some_and(|now| *now != before);
    until(&database, again, is_later).await;
    within(async {
        while postgres.address(&name("passing")).is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    fill(&postgres, "passing").await;
    let delivery = within(receiver.next()).await.unwrap().unwrap();
    assert_eq!(delivery.envelope().id, Some(id("a")));
    assert_eq!(rows(&database), "2 2 3 1", "and its subscription");
}
