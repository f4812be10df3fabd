//! What a handler publishes, in queues of the same database.

use crate::kit::{
    begin, bodies, column, declare, handling, id, name, note, numbers, opened, outside, put,
    subscribe,
};
use tramline_core::compose::{Publishing, Target};
use tramline_core::id::MessageId;
use tramline_core::store::{CommitError, Committed, Store};
use tramline_core::topology::QueueSpec;

#[tokio::test]
async fn ids_follow_the_order_in_which_a_handler_published() {
    let Some((database, postgres)) = opened().await else { return };
    let scope = handling("parent");
    for writes in [true, false] {
        let mut tx = postgres.begin(scope.clone()).await.unwrap();
        tx.send("work", &note("first")).unwrap();
        if writes {
            put(&mut tx, 1).await;
        }
        tx.send("work", &note("second")).unwrap();
        let buffered = scope.compose(&note("third"), Target::Queue(name("work"))).unwrap();
        postgres.commit(tx, Vec::new(), vec![buffered]).await.unwrap();
        assert_eq!(bodies(&database, "work"), ["first", "second", "third"]);
        let ids = "SELECT envelope::json ->> 'id' FROM tramline.message ORDER BY place";
        let derived =
            (0..3).map(|nth| MessageId::derive(&id("parent"), "payment", nth).to_string());
        assert_eq!(column(&database, ids), derived.collect::<Vec<_>>());
        let born_here = "SELECT DISTINCT flags FROM tramline.message";
        assert_eq!(column(&database, born_here), ["1"], "it needs no inbox row");
        database.sql("DELETE FROM tramline.message");
    }
}

/// Another process has subscribed a queue since this one looked.
#[tokio::test]
async fn an_event_reaches_queues_that_were_declared_a_moment_ago() {
    let Some((database, postgres)) = opened().await else { return };
    for (queue, writes) in [("one", true), ("two", false)] {
        declare(&database, QueueSpec::new(name(queue)));
        subscribe(&database, queue);
        let mut tx = begin(&postgres, Publishing::Queues).await;
        if writes {
            put(&mut tx, 1).await;
        }
        tx.publish(&note("event")).unwrap();
        postgres.commit(tx, Vec::new(), Vec::new()).await.unwrap();
        assert_eq!(bodies(&database, queue), ["event"]);
        let direct = format!("{queue}-direct");
        declare(&database, QueueSpec::new(name(&direct)));
        let mut tx = begin(&postgres, Publishing::Queues).await;
        tx.send(&direct, &note("command")).unwrap();
        postgres.commit(tx, Vec::new(), Vec::new()).await.unwrap();
        assert_eq!(bodies(&database, &direct), ["command"]);
    }
}

#[tokio::test]
async fn a_queue_that_is_not_there_fails_the_handler_for_good() {
    let Some((database, postgres)) = opened().await else { return };
    for writes in [true, false] {
        let mut tx = begin(&postgres, Publishing::Queues).await;
        if writes {
            put(&mut tx, 1).await;
        }
        tx.send("work", &note("before")).unwrap();
        tx.send("nowhere", &note("lost")).unwrap();
        let error = postgres.commit(tx, Vec::new(), Vec::new()).await.unwrap_err();
        let CommitError::Handler(failure) = error else { panic!("{error}") };
        assert!(failure.is_permanent() && failure.to_string().contains("nowhere"), "{failure}");
    }
    assert_eq!(bodies(&database, "work"), [""; 0]);
    assert_eq!(numbers(&database), [""; 0]);
}

#[tokio::test]
async fn a_full_queue_takes_all_of_it_back() {
    let Some((database, postgres)) = opened().await else { return };
    declare(&database, QueueSpec { length_max: Some(1), ..QueueSpec::new(name("short")) });
    for (count, writes) in [(2, true), (2, false), (1, false)] {
        let mut tx = begin(&postgres, Publishing::Queues).await;
        if writes {
            put(&mut tx, 1).await;
        }
        tx.send("work", &note("beside")).unwrap();
        for _ in 0..count {
            tx.send("short", &note("counted")).unwrap();
        }
        tx.send("work", &note("behind")).unwrap();
        let committed = postgres.commit(tx, Vec::new(), Vec::new()).await;
        if count == 1 {
            assert_eq!(committed.unwrap(), Committed::Done);
            continue;
        }
        let error = committed.unwrap_err();
        let CommitError::Handler(failure) = error else { panic!("{error}") };
        assert!(!failure.is_permanent() && failure.to_string().contains("short"), "{failure}");
        assert_eq!(bodies(&database, "work"), [""; 0]);
    }
    assert_eq!(bodies(&database, "work"), ["beside", "behind"]);
    assert_eq!(bodies(&database, "short"), ["counted"]);
    assert_eq!(numbers(&database), [""; 0]);
}

#[tokio::test]
async fn writers_outside_of_handlers_commit_all_or_nothing() {
    let Some((database, postgres)) = opened().await else { return };
    let writer = postgres.writer(outside(Publishing::Queues));
    let mut tx = writer.begin();
    put(&mut tx, 1).await;
    tx.send("work", &note("sent")).unwrap();
    writer.commit(tx).await.unwrap();
    let mut tx = writer.begin();
    put(&mut tx, 2).await;
    tx.send("nowhere", &note("lost")).unwrap();
    assert!(writer.commit(tx).await.unwrap_err().is_permanent());
    assert_eq!(
        (numbers(&database), bodies(&database, "work")),
        (vec!["1".into()], vec!["sent".into()])
    );
}
