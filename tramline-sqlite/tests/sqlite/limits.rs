//! What is bounded.

use crate::kit::{Place, declare, id, message, next, receiver, within};
use bytes::Bytes;
use std::fs;
use std::sync::Arc;
use tramline_core::clock::{Clock, Deadline, SystemClock};
use tramline_core::envelope::Envelope;
use tramline_core::settlement::Settlement;
use tramline_core::store::Store;
use tramline_core::transport::{Delivery, Outgoing, Sender, Transport};
use tramline_sqlite::Sync;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_ahead_log_stays_bounded_under_writes_without_a_pause() {
    const LIMIT: u64 = 8 * 1024 * 1024;
    const WRITTEN: usize = 96 * 1024 * 1024;
    const BODY: usize = 64 * 1024;
    let place = Place::new();
    let options = place.isolated().sync(Sync::Normal).wal_limit(LIMIT);
    let sqlite = options.open().await.unwrap();
    declare(&sqlite).await;
    let sender = Arc::new(sqlite.sender().await.unwrap());
    let mut senders = tokio::task::JoinSet::new();
    for caller in 0..8 {
        let sender = sender.clone();
        senders.spawn(async move {
            for n in 0..WRITTEN / BODY / 8 {
                let outgoing = message(&format!("{caller}-{n}"));
                let body = Bytes::from(vec![b'x'; BODY]);
                let envelope = Arc::new(Envelope { body, ..Envelope::clone(&outgoing.envelope) });
                let deadline = Deadline::after(SystemClock.now(), crate::kit::PATIENCE);
                let sent = sender.send(&[Outgoing { envelope, ..outgoing }], deadline).await;
                assert!(sent.iter().all(tramline_core::transport::Sent::is_accepted), "{sent:?}");
            }
        });
    }
    within(senders.join_all()).await;
    let log = fs::metadata(place.path().with_extension("db-wal")).unwrap().len();
    // A group is at most what eight callers send at once.
    assert!(log <= LIMIT + 8 * 1024 * 1024, "the log has {log} bytes");
}

#[tokio::test]
async fn what_a_receiver_takes_ahead_is_bounded_in_bytes_and_all_of_it_comes() {
    let place = Place::new();
    let sqlite = place.open().await;
    for n in 0..40 {
        let outgoing = message(&format!("{n:02}"));
        let body = Bytes::from(vec![b'x'; 1024 * 1024]);
        let envelope = Arc::new(Envelope { body, ..Envelope::clone(&outgoing.envelope) });
        let deadline = Deadline::after(SystemClock.now(), crate::kit::PATIENCE);
        sqlite.sender().await.unwrap().send(&[Outgoing { envelope, ..outgoing }], deadline).await;
    }
    let other = tramline_sqlite::rusqlite::Connection::open(place.path()).unwrap();
    let mut consumer = receiver(&sqlite, 100).await;
    for n in 0..40 {
        let delivery = next(&mut consumer).await;
        assert_eq!(id(&delivery), format!("{n:02}"));
        let sql = "SELECT count(*) FROM tramline_leased";
        let taken: i64 = other.query_row(sql, [], |row| row.get(0)).unwrap();
        // A claim of 8, and what was left when it was asked for.
        assert!(taken <= 13, "{taken} MiB are taken");
        delivery.settle(Settlement::Ack).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_sleeps_too_long_fails_and_holds_up_no_look_of_the_bus() {
    let place = Place::new();
    let sqlite = place.open().await;
    let (begun, mut begins) = tokio::sync::mpsc::channel(4);
    let mut sleepers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (sqlite, begun) = (sqlite.clone(), begun.clone());
        let sleep = move |_: &tramline_sqlite::Snapshot<'_>| {
            let _ = begun.blocking_send(());
            // What is promised is about the time itself.
            std::thread::sleep(std::time::Duration::from_millis(5100));
            Ok(())
        };
        sleepers.spawn(async move { sqlite.read(sleep).await });
    }
    for _ in 0..4 {
        within(begins.recv()).await.unwrap();
    }
    sqlite.outbox().depth().await.unwrap();
    assert!(sleepers.try_join_next().is_none(), "all of them sleep");
    for slept in within(sleepers.join_all()).await {
        assert_eq!(slept.unwrap_err().to_string(), "read took longer than 5s");
    }
}
