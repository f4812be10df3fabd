//! What is bounded.

use crate::kit::{Place, declare, message, within};
use bytes::Bytes;
use std::fs;
use std::sync::Arc;
use tramline_core::clock::{Clock, Deadline, SystemClock};
use tramline_core::envelope::Envelope;
use tramline_core::transport::{Outgoing, Sender, Transport};
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
