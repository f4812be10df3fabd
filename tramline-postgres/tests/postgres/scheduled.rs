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
    let envelope = Envelope {
        id: Some(id(text)),
        key: Some("a".into()),
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
async fn all<const COUNT: usize>(postgres: &Postgres) -> [String; COUNT] {
    let source = Source::of(QueueRef::Main(name("work")), 1);
    let mut receiver = postgres.receiver(&source).await.unwrap();
    let mut ids = [const { String::new() }; COUNT];
    for id in &mut ids {
        let delivery = next(&mut receiver).await;
        *id = delivery.envelope().id.as_ref().unwrap().to_string();
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
    assert_eq!(all(&postgres).await, ["earlier", "scheduled", "later", "last"]);
}

#[tokio::test]
async fn those_of_one_key_that_are_due_at_one_moment_come_as_they_were_sent_whatever_their_rank() {
    let Some((_database, postgres, clock)) = opened().await else { return };
    let due = Some(clock.now().after(SECOND));
    send(&postgres, &clock, &[message("first", 0, due), message("second", 1, due)]).await;
    clock.advance(2 * SECOND);
    send(&postgres, &clock, &[message("third", 1, None)]).await;
    assert_eq!(all(&postgres).await, ["first", "second", "third"]);
}
