//! Files that can be opened, and files that must not be touched.

use crate::kit::{Place, declare, numbers, put, within};
use std::fs;
use tramline_core::ErrorKind;
use tramline_core::clock::ManualClock;
use tramline_core::store::Store;
use tramline_sqlite::rusqlite::Connection;
use tramline_sqlite::{Sqlite, Sync};

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_and_left_as_it_was() {
    let place = Place::new();
    let connection = Connection::open(place.path()).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE tramline_schema (version); INSERT INTO tramline_schema VALUES (999)",
        )
        .unwrap();
    drop(connection);
    let before = fs::read(place.path()).unwrap();

    let error = Sqlite::open(place.path()).await.unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Outdated);
    assert!(text.contains("bus.db") && text.contains("999") && text.contains("up to 1"), "{text}");
    assert_eq!(fs::read(place.path()).unwrap(), before);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_as_it_was() {
    let place = Place::new();
    let text = "these are my notes, and they are longer than a header ".repeat(20);
    fs::write(place.path(), &text).unwrap();
    let error = Sqlite::open(place.path()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("bus.db"), "{error}");
    assert!(error.to_string().contains("not a SQLite database"), "{error}");
    assert_eq!(fs::read_to_string(place.path()).unwrap(), text);
}

#[tokio::test]
async fn a_directory_and_a_missing_folder_are_refused_by_name() {
    let place = Place::new();
    fs::create_dir(place.path()).unwrap();
    let error = Sqlite::open(place.path()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(error.to_string().contains("bus.db: it is a directory"), "{error}");

    let error = Sqlite::open(place.path().join("no/where.db")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(error.to_string().contains("where.db: its folder cannot be found"), "{error}");
}

/// Tests may run as root, whom permissions do not stop: only a file system that takes no files
/// does.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_folder_that_takes_no_files_is_refused_by_name() {
    let error = Sqlite::open("/proc/self/bus.db").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(error.to_string().contains("bus.db"), "{error}");
}

#[tokio::test]
async fn processes_that_start_together_on_a_new_file_make_it_once() {
    let place = Place::new();
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let options = place.isolated();
        starts.spawn(async move {
            let sqlite = options.open().await?;
            declare(&sqlite).await;
            Ok::<_, tramline_core::Error>(sqlite)
        });
    }
    for started in within(starts.join_all()).await {
        started.unwrap();
    }
}

#[tokio::test]
async fn what_else_is_in_a_file_stays() {
    let place = Place::new();
    let connection = Connection::open(place.path()).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE numbers (n INTEGER PRIMARY KEY); INSERT INTO numbers VALUES (7)",
        )
        .unwrap();
    drop(connection);
    let sqlite = Sqlite::open(place.path()).await.unwrap();
    assert_eq!(numbers(&sqlite).await, [7]);
}

#[tokio::test]
async fn one_file_has_one_writer_by_whatever_name_it_is_opened() {
    let place = Place::new();
    let clock = std::sync::Arc::new(ManualClock::default());
    let first = Sqlite::options(place.path()).clock(clock).sync(Sync::Normal).open().await.unwrap();
    let other_name = place.path().parent().unwrap().join(".").join("bus.db");
    let second = Sqlite::open(other_name).await.unwrap();
    assert_eq!(Store::database(&first), Store::database(&second));

    let error = Sqlite::options(place.path()).sync(Sync::Full).open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("another value for sync"), "{error}");
}

#[tokio::test]
async fn a_file_is_opened_again_after_its_last_handle() {
    let place = Place::new();
    for round in 0..3 {
        let sqlite = place.open().await;
        put(&sqlite, round).await;
    }
    assert_eq!(numbers(&place.open().await).await, [0, 1, 2]);
}

#[tokio::test]
async fn every_wish_that_cannot_be_granted_is_told_at_once() {
    let place = Place::new();
    let sqlite = place.open().await;
    let wishful = |name: &str| {
        let name = tramline_core::name::QueueName::new(name).unwrap();
        tramline_core::topology::QueueSpec {
            arguments: [("x-queue-mode".to_owned(), "lazy".to_owned())].into(),
            delivery_limit: Some(10),
            ..tramline_core::topology::QueueSpec::new(name)
        }
    };
    let topology = tramline_core::topology::Topology {
        queues: vec![wishful("first"), wishful("second")],
        ..Default::default()
    };
    let refused = tramline_core::transport::Transport::declare(&sqlite, &topology).await;
    let error = refused.unwrap_err().to_string();
    for queue in ["first", "second"] {
        for what in ["arguments of another broker", "a delivery limit"] {
            assert!(error.contains(&format!("{what} for queue {queue}")), "{error}");
        }
    }
}

#[tokio::test]
async fn a_queue_that_a_newer_program_declared_in_unknown_words_stops_nobody() {
    use tramline_core::topology::{QueueSpec, Topology};
    let place = Place::new();
    drop(place.open().await);
    let other = tramline_sqlite::rusqlite::Connection::open(place.path()).unwrap();
    let newer = r#"INSERT INTO tramline_queue (name, spec) VALUES ('newer', '{"ordering":"odd"}')"#;
    other.execute(newer, []).unwrap();
    let sqlite = place.open().await;
    crate::kit::put(&sqlite, 1).await;
    let queues = vec![QueueSpec::new(tramline_core::name::QueueName::new("newer").unwrap())];
    let topology = Topology { queues, ..Topology::default() };
    let refused = tramline_core::transport::Transport::declare(&sqlite, &topology).await;
    assert_eq!(refused.unwrap_err().kind(), tramline_core::ErrorKind::Conflict);
}

#[tokio::test]
async fn every_faulty_rule_and_every_conflict_is_told_at_once() {
    use tramline_core::name::{QueueName, TopicName};
    use tramline_core::topology::{QueueSpec, Rule, Subscription, Topology};
    let place = Place::new();
    let sqlite = place.open().await;
    let spec = |name: &str| QueueSpec::new(QueueName::new(name).unwrap());
    let subscription = |queue: &str, topic: &str, subject: &str| Subscription {
        queue: QueueName::new(queue).unwrap(),
        topic: TopicName::new(topic).unwrap(),
        rules: vec![Rule::subject(subject)],
    };
    let queues = vec![spec("first"), spec("second")];
    let faulty = Topology {
        queues: queues.clone(),
        subscriptions: vec![
            subscription("first", "one", "a..b"),
            subscription("second", "two", ""),
        ],
        ..Topology::default()
    };
    let declare = async |topology: &Topology| {
        tramline_core::transport::Transport::declare(&sqlite, topology).await
    };
    let error = declare(&faulty).await.unwrap_err();
    assert_eq!(error.kind(), tramline_core::ErrorKind::Misconfigured);
    for word in ["queue first on topic one", "queue second on topic two"] {
        assert!(error.to_string().contains(word), "{error}");
    }
    declare(&Topology { queues: queues.clone(), ..Topology::default() }).await.unwrap();
    let mut other = queues;
    for queue in &mut other {
        queue.priority_max = Some(3);
    }
    let missing = vec![subscription("third", "one", "#")];
    let conflicting = Topology { queues: other, subscriptions: missing, ..Topology::default() };
    let error = declare(&conflicting).await.unwrap_err();
    assert_eq!(error.kind(), tramline_core::ErrorKind::Conflict);
    for word in ["queue first: priority_max", "queue second: priority_max", "no queue third"] {
        assert!(error.to_string().contains(word), "{error}");
    }
}
