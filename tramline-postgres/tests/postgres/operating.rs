//! What operators do on a real server.

use std::time::Duration;
use tramline_core::capabilities::Ordering;
use tramline_core::clock::{Clock, Deadline, SystemClock};
use tramline_core::dead::{History, Reason};
use tramline_core::envelope::Envelope;
use tramline_core::headers::Headers;
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::operate::{Figure, Operate, Peeked, Redrive};
use tramline_core::settlement::Settlement;
use tramline_core::topology::{QueueSpec, Topology};
use tramline_core::transport::{
    CopyOf, Delivery, Destination, Outgoing, Receiver, Sender, Sent, Source, Transport,
};
use tramline_core::{Error, ErrorKind, Result};
use tramline_postgres::{Postgres, PostgresReceiver};
use tramline_services::testing::{Database, PATIENCE};

fn work() -> QueueName {
    QueueName::foreign("work")
}

fn main_ref() -> QueueRef {
    QueueRef::Main(work())
}

fn dead_ref() -> QueueRef {
    QueueRef::Dead(work())
}

fn spec() -> QueueSpec {
    QueueSpec::new(work())
}

/// A database with one queue; `None` where there is no server, which was told.
async fn declared(spec: QueueSpec) -> Option<(Database, Postgres)> {
    let database = Database::fresh()?;
    let postgres = Postgres::connect(database.url.as_str()).await.unwrap();
    let topology = Topology { queues: vec![spec], ..Topology::default() };
    postgres.declare(&topology).await.unwrap();
    Some((database, postgres))
}

fn message(id: &str) -> Envelope {
    Envelope { id: Some(id.parse().unwrap()), body: "{}".into(), ..Envelope::default() }
}

fn sent(envelope: Envelope) -> Outgoing {
    let to = Destination::Queue(main_ref());
    Outgoing { to, envelope: envelope.into(), due: None, copy: None }
}

/// A dead letter as the engine makes one.
fn died(envelope: Envelope) -> Outgoing {
    let (reason, history) = (Reason::Exhausted, History::new());
    let copy = Some(CopyOf::DeadLetter { reason, failures: 3, history });
    Outgoing { to: Destination::Queue(dead_ref()), copy, ..sent(envelope) }
}

async fn try_send(postgres: &Postgres, outgoing: Outgoing) -> Result<()> {
    let deadline = Deadline::after(SystemClock.now(), PATIENCE);
    let answers = postgres.sender().await.unwrap().send(&[outgoing], deadline).await;
    answers.into_iter().next().map_or(Ok(()), Sent::into_result)
}

async fn send(postgres: &Postgres, outgoing: Outgoing) {
    try_send(postgres, outgoing).await.unwrap();
}

async fn receiver(postgres: &Postgres, queue: QueueRef) -> PostgresReceiver {
    postgres.receiver(&Source::of(queue, 1)).await.unwrap()
}

async fn next(receiver: &mut PostgresReceiver) -> impl Delivery + use<> {
    let next = tokio::time::timeout(PATIENCE, receiver.next()).await;
    next.expect("nothing came").unwrap().expect("the receiver has ended")
}

fn id_of(envelope: &Envelope) -> String {
    envelope.id.as_ref().map(ToString::to_string).unwrap_or_default()
}

async fn next_id(receiver: &mut PostgresReceiver) -> String {
    let delivery = next(receiver).await;
    let id = id_of(delivery.envelope());
    delivery.settle(Settlement::Ack).await.unwrap();
    id
}

fn ids(peeked: &[Peeked]) -> Vec<String> {
    peeked.iter().map(|peeked| id_of(&peeked.envelope)).collect()
}

fn assert_full(refused: &Error) {
    assert_eq!(refused.kind(), ErrorKind::Full, "{refused}");
}

#[tokio::test]
async fn dead_letters_line_up_in_their_order_behind_what_is_in_a_queue_with_an_order() {
    let spec = QueueSpec { ordering: Ordering::PerQueue, ..spec() };
    let Some((_database, postgres)) = declared(spec).await else { return };
    for id in ["a", "b", "c"] {
        send(&postgres, died(message(id))).await;
    }
    send(&postgres, sent(message("before"))).await;
    let mut receiver = receiver(&postgres, main_ref()).await;
    let before = next(&mut receiver).await;
    assert_eq!(postgres.redrive(&work(), Redrive::all()).await.unwrap(), 3);
    send(&postgres, sent(message("after"))).await;
    before.settle(Settlement::Ack).await.unwrap();
    for id in ["a", "b", "c", "after"] {
        assert_eq!(next_id(&mut receiver).await, id);
    }
}

#[tokio::test]
async fn a_dead_letter_that_somebody_has_taken_is_neither_redriven_nor_purged_nor_forgotten() {
    // Asked two hours from now: the driver, which asks now and then, forgets nothing meanwhile.
    const FORGET: &str = "SELECT tramline.forget(tramline.clock() + 7200000000, 1000)";
    let spec = QueueSpec { keep_dead: Some(Duration::from_secs(3600)), ..spec() };
    let Some((database, postgres)) = declared(spec).await else { return };
    send(&postgres, died(message("held"))).await;
    let mut undertaker = receiver(&postgres, dead_ref()).await;
    let held = next(&mut undertaker).await;
    undertaker.stop().await.unwrap();
    send(&postgres, died(message("free"))).await;

    let dry = Redrive { dry_run: true, ..Redrive::all() };
    assert_eq!(postgres.redrive(&work(), dry).await.unwrap(), 1);
    let both = Redrive::ids(["held", "free"].map(|id| id.parse().unwrap()));
    assert_eq!(postgres.redrive(&work(), both).await.unwrap(), 1);
    // Nor one that was taken after somebody had chosen it.
    let chosen = "SELECT tramline.redrive(id, ARRAY(SELECT place FROM tramline.dead), NULL)
         FROM tramline.queue";
    assert_eq!(database.sql(chosen), [[Some("0".to_owned())]]);
    assert_eq!(postgres.purge(&dead_ref()).await.unwrap(), 0);
    assert_eq!(database.sql(FORGET), [[Some("0".to_owned())]]);
    assert_eq!(ids(&postgres.peek(&dead_ref(), None, 10).await.unwrap()), ["held"]);
    let depth = postgres.depth(&work()).await.unwrap();
    assert_eq!((depth.ready, depth.dead), (Figure::Known(1), Figure::Known(1)));

    held.settle(Settlement::Return).await.unwrap();
    postgres.close(Deadline::after(SystemClock.now(), PATIENCE)).await.unwrap();
    assert_eq!(database.sql(FORGET), [[Some("1".to_owned())]]);
}

#[tokio::test]
async fn what_is_redriven_and_purged_counts_for_the_length_of_a_queue() {
    let spec = QueueSpec { length_max: Some(2), ..spec() };
    let Some((_database, postgres)) = declared(spec).await else { return };
    for id in ["a", "b"] {
        send(&postgres, died(message(id))).await;
    }
    assert_eq!(postgres.redrive(&work(), Redrive::all()).await.unwrap(), 2);
    assert_full(&try_send(&postgres, sent(message("c"))).await.unwrap_err());
    let mut receiver = receiver(&postgres, main_ref()).await;
    let held = next(&mut receiver).await;
    assert_eq!(postgres.purge(&main_ref()).await.unwrap(), 1, "one is held");
    send(&postgres, sent(message("c"))).await;
    assert_full(&try_send(&postgres, sent(message("d"))).await.unwrap_err());
    held.settle(Settlement::Ack).await.unwrap();
    assert_eq!(next_id(&mut receiver).await, "c");
}

/// PostgreSQL itself reads no JSON with a NUL in it.
#[tokio::test]
async fn what_has_a_nul_in_a_header_is_found_and_starts_again_without_its_expiry() {
    let Some((_database, postgres)) = declared(spec()).await else { return };
    let headers = Headers::from_iter([("odd", "\0 \\u0000 \u{1a}")]);
    let expires_at = Some(SystemClock.now());
    send(&postgres, died(Envelope { expires_at, headers: headers.clone(), ..message("a") })).await;
    let id = "a".parse().unwrap();
    assert!(postgres.find(&dead_ref(), &id).await.unwrap().is_some());
    assert_eq!(postgres.redrive(&work(), Redrive::all()).await.unwrap(), 1);
    let again = next(&mut receiver(&postgres, main_ref()).await).await;
    assert_eq!(**again.envelope(), Envelope { headers, ..message("a") });
}

#[tokio::test]
async fn what_is_more_important_is_shown_first_and_pages_go_on_from_there() {
    let spec = QueueSpec { priority_max: Some(9), ..spec() };
    let Some((_database, postgres)) = declared(spec).await else { return };
    for (id, priority) in [("low", 1), ("high", 9), ("middle", 5), ("high too", 9)] {
        send(&postgres, sent(Envelope { priority: Some(priority), ..message(id) })).await;
    }
    let due = Some(SystemClock.now().after(Duration::from_secs(3600)));
    let delayed = Envelope { priority: Some(9), ..message("delayed") };
    send(&postgres, Outgoing { due, ..sent(delayed) }).await;
    let first = postgres.peek(&main_ref(), None, 2).await.unwrap();
    assert_eq!(ids(&first), ["high", "high too"]);
    let rest = postgres.peek(&main_ref(), Some(first[1].position), 10).await.unwrap();
    assert_eq!(ids(&rest), ["delayed", "middle", "low"]);
    assert_eq!(rest[0].due.map(|due| due.as_micros()), due.map(|due| due.as_micros()));
    let before = postgres.age(&work()).await.unwrap().expect("four wait");
    for id in ["high", "high too", "middle"] {
        assert_eq!(next_id(&mut receiver(&postgres, main_ref()).await).await, id);
    }
    let age = postgres.age(&work()).await.unwrap().expect("the oldest waits");
    assert!(age > before, "{age:?} after {before:?}: it is the least important");
}

#[tokio::test]
async fn the_tally_is_the_same_when_it_is_summed_up() {
    let Some((database, postgres)) = declared(spec()).await else { return };
    database.sql(
        "INSERT INTO tramline.tally SELECT 'redelivered', 2 FROM generate_series(1, 300);
         INSERT INTO tramline.tally SELECT 'duplicates', 1 FROM generate_series(1, 300)",
    );
    let before = postgres.tally().await.unwrap();
    assert_eq!((before.redelivered, before.duplicates), (600, 300));
    database.sql("SELECT tramline.forget(NULL, 1)");
    assert_eq!(database.sql("SELECT count(*) FROM tramline.tally"), [[Some("2".to_owned())]]);
    assert_eq!(postgres.tally().await.unwrap(), before);
}
