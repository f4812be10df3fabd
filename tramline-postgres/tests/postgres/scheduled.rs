//! The order of what was sent with a delay.

use crate::kit::{id, name, next};
use std::sync::Arc;
use std::time::Duration;
use tramline_core::capabilities::Ordering;
use tramline_core::clock::{Clock, Deadline, ManualClock, SystemClock, Timestamp};
use tramline_core::envelope::Envelope;
use tramline_core::name::QueueRef;
use tramline_core::settlement::Settlement;
use tramline_core::topology::{QueueSpec, Topology};
use tramline_core::transport::{Delivery, Destination, Outgoing, Sender, Source, Transport};
use tramline_postgres::Postgres;
use tramline_services::testing::Database;

const SECOND: Duration = Duration::from_secs(1);

/// A queue with one lane for each key and two ranks, on a clock that is wound by hand.
async fn opened() -> Option<(Database, Postgres, ManualClock)> {
    let database = Database::fresh()?;
    let clock = ManualClock::at(SystemClock.now());
    let options = Postgres::options(database.url.as_str()).clock(Arc::new(clock.clone()));
    let postgres = options.open().await.unwrap();
    let spec = QueueSpec {
        ordering: Ordering::PerKey,
        priority_max: Some(1),
        ..QueueSpec::new(name("work"))
    };
    postgres.declare(&Topology { queues: vec![spec], ..Topology::default() }).await.unwrap();
    Some((database, postgres, clock))
}

fn message(text: &str, priority: u8, due: Option<Timestamp>) -> Outgoing {
    of_key("a", text, priority, due)
}

fn of_key(key: &str, text: &str, priority: u8, due: Option<Timestamp>) -> Outgoing {
    let envelope = Envelope {
        id: Some(id(text)),
        key: Some(key.into()),
        priority: Some(priority),
        body: "{}".into(),
        ..Envelope::default()
    };
    let to = Destination::Queue(QueueRef::Main(name("work")));
    Outgoing { to, envelope: envelope.into(), due, copy: None }
}

async fn send(postgres: &Postgres, clock: &ManualClock, batch: &[Outgoing]) {
    let deadline = Deadline::after(clock.now(), 60 * SECOND);
    let sent = postgres.sender().await.unwrap().send(batch, deadline).await;
    assert!(sent.iter().all(|sent| sent.is_accepted()), "{sent:?}");
}

/// The ids of so many messages, in the order in which they come.
async fn come(postgres: &Postgres, count: usize) -> Vec<String> {
    let source = Source::of(QueueRef::Main(name("work")), 100);
    let mut receiver = postgres.receiver(&source).await.unwrap();
    let mut ids = Vec::new();
    while ids.len() < count {
        let delivery = next(&mut receiver).await;
        ids.push(delivery.envelope().id.as_ref().unwrap().to_string());
        delivery.settle(Settlement::Ack).await.unwrap();
    }
    ids
}

#[tokio::test]
async fn a_scheduled_message_lines_up_when_it_is_due_although_nobody_takes_then() {
    let Some((_database, postgres, clock)) = opened().await else { return };
    let due = clock.now().after(SECOND);
    send(&postgres, &clock, &[message("scheduled", 0, Some(due))]).await;
    send(&postgres, &clock, &[message("earlier", 0, None)]).await;
    clock.advance(2 * SECOND);
    send(&postgres, &clock, &[message("later", 0, None), message("last", 0, None)]).await;
    assert_eq!(come(&postgres, 4).await, ["earlier", "scheduled", "later", "last"]);
}

#[tokio::test]
async fn those_of_one_key_that_are_due_at_one_moment_come_as_they_were_sent_whatever_their_rank() {
    let Some((_database, postgres, clock)) = opened().await else { return };
    let due = Some(clock.now().after(SECOND));
    send(&postgres, &clock, &[message("first", 0, due), message("second", 1, due)]).await;
    clock.advance(2 * SECOND);
    send(&postgres, &clock, &[message("third", 1, None)]).await;
    assert_eq!(come(&postgres, 3).await, ["first", "second", "third"]);
}

/// More than are let go at a time.
#[tokio::test]
async fn of_many_that_are_due_each_comes_before_what_of_its_key_has_arrived_since() {
    const MANY: usize = 1500;
    let Some((_database, postgres, clock)) = opened().await else { return };
    let due = Some(clock.now().after(SECOND));
    let texts: Vec<String> = (0..MANY).map(|n| n.to_string()).collect();
    let scheduled = texts.iter().map(|text| of_key(text, text, 0, due));
    send(&postgres, &clock, &scheduled.collect::<Vec<_>>()).await;
    clock.advance(2 * SECOND);
    let last = texts.last().unwrap();
    send(&postgres, &clock, &[of_key(last, "since", 1, None)]).await;
    let ids = come(&postgres, MANY + 1).await;
    let came = |text: &str| ids.iter().position(|id| id == text).unwrap();
    assert!(came(last) < came("since"));
}

/// Some arrivals have what was scheduled before them, and numbers have gaps.
#[tokio::test]
async fn the_first_of_a_lane_that_came_later_than_a_moment_is_found() {
    let Some((database, _postgres, _clock)) = opened().await else { return };
    let behind = "INSERT INTO tramline.behind SELECT 1, place, 0, 0, 0, 0, 0, since,
         NULL, NULL, NULL, NULL, NULL, '', '', 'lane', arrival, nth FROM";
    database.sql(&format!(
        "{behind} (SELECT n AS place, 10 * n AS since, 7 * n AS arrival, 0 AS nth
             FROM generate_series(1, 40) AS n) AS came;
         {behind} (SELECT 1000 + n AS place, 10 * n - 5 AS since, 7 * n AS arrival, n - 100 AS nth
             FROM generate_series(1, 40, 3) AS n) AS were_scheduled"
    ));
    // Of one arrival the last one decides: what was scheduled before it is no reason to stand before it.
    let wrong = "SELECT due, number, tramline.first_since(1, 'lane', due, number)
         FROM generate_series(0, 420) AS due, (VALUES (0), (20), (2000)) AS n (number)
         WHERE tramline.first_since(1, 'lane', due, number) IS DISTINCT FROM (
             SELECT min(arrival) FROM tramline.behind
             WHERE nth = 0 AND (since, place) >= (due, number))";
    assert_eq!(database.sql(wrong), Vec::<Vec<Option<String>>>::new());
}
