//! A newer program comes to a file while an older one has it open.

use crate::kit::{PATIENCE, Place, message, next, numbers, put, receiver, send, within, work};
use tramline_core::clock::{Clock, Deadline, SystemClock};
use tramline_core::name::QueueRef;
use tramline_core::settlement::Settlement;
use tramline_core::topology::{QueueSpec, Topology};
use tramline_core::transport::{Delivery, Receiver, Sender, Sent, Source, Start, Transport};
use tramline_core::{Error, ErrorKind};
use tramline_sqlite::rusqlite::Connection;

/// Does what a newer program's migration does, whatever else that is.
fn migrate(place: &Place) {
    let connection = Connection::open(place.path()).unwrap();
    connection.busy_timeout(PATIENCE).unwrap();
    let migration = "BEGIN IMMEDIATE;
         UPDATE tramline_schema SET version = 999;
         UPDATE tramline_counter SET value = value + 1 WHERE name = 'topology';
         ALTER TABLE tramline_ready ADD COLUMN newer;
         COMMIT;";
    connection.execute_batch(migration).unwrap();
}

fn assert_tells(error: &Error) {
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Outdated, "{text}");
    for part in ["bus.db", "version 999", "up to 1", "newer program"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[tokio::test]
async fn an_older_process_writes_nothing_once_the_file_is_migrated_and_says_why() {
    let place = Place::new();
    let sqlite = place.open().await;
    send(&sqlite, ["a", "b"]).await;
    let mut consumer = receiver(&sqlite, 1).await;
    let (sender, a) = (sqlite.sender().await.unwrap(), next(&mut consumer).await);
    migrate(&place);

    let deadline = Deadline::after(SystemClock.now(), PATIENCE);
    match &sender.send(&[message("c")], deadline).await[..] {
        [Sent::Refused(error)] => assert_tells(error),
        other => panic!("{other:?}"),
    }
    assert_tells(&a.settle(Settlement::Ack).await.unwrap_err());
    assert_tells(&within(consumer.next()).await.map(|_| ()).unwrap_err());
    let write = sqlite.write(|db| Ok(db.execute("INSERT INTO numbers VALUES (1)", [])?)).await;
    assert!(write.unwrap_err().to_string().contains("version 999"));
    assert_eq!(numbers(&sqlite).await, [0; 0]);
    let topology = Topology { queues: vec![QueueSpec::new(work())], ..Topology::default() };
    assert_tells(&sqlite.declare(&topology).await.unwrap_err());
}

#[tokio::test]
async fn a_consumer_that_waits_for_messages_learns_of_a_migration_too() {
    let place = Place::new();
    let sqlite = place.open().await;
    let mut consumer = receiver(&sqlite, 1).await;
    let next = tokio::spawn(async move { consumer.next().await.map(|_| ()) });
    put(&sqlite, 1).await;
    migrate(&place);
    assert_tells(&within(next).await.unwrap().unwrap_err());
}

#[tokio::test]
async fn an_older_program_does_not_open_the_migrated_file() {
    let place = Place::new();
    drop(place.open().await);
    migrate(&place);
    let error = place.isolated().open().await.unwrap_err();
    assert_tells(&error);
}

#[tokio::test]
async fn a_queue_of_which_a_newer_program_asks_more_is_not_taken_for_a_plain_one() {
    let place = Place::new();
    let sqlite = place.open().await;
    let other = Connection::open(place.path()).unwrap();
    other.busy_timeout(PATIENCE).unwrap();
    let declared = "BEGIN IMMEDIATE;
         UPDATE tramline_queue SET spec = json_set(spec, '$.newer', 1);
         UPDATE tramline_counter SET value = value + 1 WHERE name = 'topology';
         COMMIT;";
    other.execute_batch(declared).unwrap();

    let tells = |error: &Error| {
        let text = error.to_string();
        assert!(text.contains("queue work") && text.contains("newer program"), "{text}");
    };
    let deadline = Deadline::after(SystemClock.now(), PATIENCE);
    match &sqlite.sender().await.unwrap().send(&[message("a")], deadline).await[..] {
        [Sent::Refused(error)] => tells(error),
        sent => panic!("{sent:?}"),
    }
    let spec = QueueSpec::new(work());
    let topology = Topology { queues: vec![spec.clone()], ..Topology::default() };
    tells(&sqlite.declare(&topology).await.unwrap_err());
    let source = Source {
        queue: QueueRef::Main(work()),
        spec,
        subscriptions: Vec::new(),
        prefetch: 1,
        prefetch_max: 1,
        start: Start::default(),
    };
    tells(&sqlite.receiver(&source).await.map(drop).unwrap_err());
}
