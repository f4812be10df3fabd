//! What waits to be sent elsewhere.

use crate::kit::Place;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tramline_core::Message;
use tramline_core::clock::{Clock, SystemClock, SystemEntropy, Timestamp};
use tramline_core::codec::Encoding;
use tramline_core::compose::{Composer, Publishing, Scope};
use tramline_core::draft::Draft;
use tramline_core::store::{OutboxRow, Store};
use tramline_core::transport::Destination;
use tramline_sqlite::Sqlite;
use tramline_sqlite::rusqlite::Connection;

const LEASE: Duration = Duration::from_secs(30);

#[derive(Serialize, Deserialize)]
struct Noted {
    n: u32,
}

impl Message for Noted {
    const NAME: &'static str = "test.noted";
}

fn scope(publishing: Publishing) -> Scope {
    let composer = Composer {
        encoding: Encoding::default(),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    };
    Scope::outside(Arc::new(composer), publishing)
}

/// Appends one row after the other, each under `key`.
async fn append(sqlite: &Sqlite, numbers: &[u32], key: Option<&str>, delay: Duration) {
    let writer = sqlite.writer(scope(Publishing::Outbox));
    let (numbers, key) = (numbers.to_vec(), key.map(str::to_owned));
    let publish = move |db: &tramline_sqlite::Db<'_>| {
        numbers.iter().try_for_each(|n| {
            let noted = Noted { n: *n };
            let draft = Draft::of(&noted);
            let draft = match &key {
                Some(key) => draft.key(key.clone()),
                None => draft,
            };
            if delay.is_zero() { db.publish(draft) } else { db.publish(draft.delay(delay)) }
        })
    };
    writer.write(publish).await.unwrap();
}

fn soon() -> Timestamp {
    SystemClock.now().after(Duration::from_secs(1))
}

async fn claim(sqlite: &Sqlite, now: Timestamp) -> Vec<OutboxRow> {
    sqlite.outbox().claim(100, LEASE, now).await.unwrap()
}

fn numbers(rows: &[OutboxRow]) -> Vec<u32> {
    let number = |row: &OutboxRow| {
        let noted: Noted = serde_json::from_slice(&row.outgoing.envelope.body).unwrap();
        noted.n
    };
    rows.iter().map(number).collect()
}

#[tokio::test]
async fn what_goes_to_an_exchange_waits_in_the_outbox_and_is_refused_by_this_files_queues() {
    let place = Place::new();
    let sqlite = place.open().await;
    let publish = |db: &tramline_sqlite::Db<'_>| {
        db.publish_to_exchange("legacy.events", "order.created", &Noted { n: 1 })
    };
    sqlite.writer(scope(Publishing::Outbox)).write(publish).await.unwrap();
    let rows = claim(&sqlite, soon()).await;
    let to = Destination::Foreign {
        exchange: "legacy.events".to_owned(),
        routing_key: "order.created".to_owned(),
    };
    assert_eq!((rows.len(), &rows[0].outgoing.to), (1, &to));

    let refused = sqlite.writer(scope(Publishing::Queues)).write(publish).await.unwrap_err();
    assert!(refused.to_string().contains("exchange legacy.events"), "{refused}");
}

#[tokio::test]
async fn rows_that_cannot_be_read_are_parked_with_their_error_and_the_others_leave() {
    let place = Place::new();
    let sqlite = place.open().await;
    append(&sqlite, &[1, 2, 3, 4, 5], None, Duration::ZERO).await;
    let other = Connection::open(place.path()).unwrap();
    for (id, change) in
        [(2, "envelope = '{\"headers\":7}'"), (3, "destination = X'00'"), (4, "body = 17")]
    {
        let sql = format!("UPDATE tramline_outbox SET {change} WHERE id = {id}");
        assert_eq!(other.execute(&sql, []).unwrap(), 1);
    }
    assert_eq!(numbers(&claim(&sqlite, soon()).await), [1, 5]);
    assert_eq!(sqlite.outbox().depth().await.unwrap(), (2, 3));
    let sql = "SELECT count(*) FROM tramline_outbox_aside WHERE error LIKE '%row _ of the outbox%'";
    let told: i64 = other.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(told, 3);
}

#[tokio::test]
async fn unreadable_rows_at_the_head_do_not_make_the_outbox_look_empty() {
    let place = Place::new();
    let sqlite = place.open().await;
    append(&sqlite, &[1, 2, 3], None, Duration::ZERO).await;
    let other = Connection::open(place.path()).unwrap();
    other.execute("UPDATE tramline_outbox SET envelope = '' WHERE id < 3", []).unwrap();
    let rows = sqlite.outbox().claim(1, LEASE, soon()).await.unwrap();
    assert_eq!(numbers(&rows), [3]);
}

#[tokio::test]
async fn a_row_that_is_due_leaves_without_a_due_time() {
    let place = Place::new();
    let sqlite = place.open().await;
    append(&sqlite, &[1], None, Duration::from_secs(60)).await;
    assert!(claim(&sqlite, soon()).await.is_empty());
    let later = SystemClock.now().after(Duration::from_secs(61));
    let rows = claim(&sqlite, later).await;
    assert_eq!(rows[0].outgoing.due, None);
}

#[tokio::test]
async fn a_parked_row_holds_back_what_stands_behind_it_of_its_key_until_its_release() {
    let place = Place::new();
    let sqlite = place.open().await;
    append(&sqlite, &[1, 2], Some("a"), Duration::ZERO).await;
    append(&sqlite, &[3], None, Duration::ZERO).await;
    let first = sqlite.outbox().claim(1, LEASE, soon()).await.unwrap();
    sqlite.outbox().park(first[0].token, "no such exchange").await.unwrap();
    assert_eq!(sqlite.outbox().depth().await.unwrap(), (2, 1));
    let rows = claim(&sqlite, soon()).await;
    assert_eq!(numbers(&rows), [3]);
    sqlite.outbox().sent(&[rows[0].token]).await.unwrap();
    assert_eq!(sqlite.outbox().next_due().await.unwrap(), None, "a relay may sleep");
    sqlite.outbox().release().await.unwrap();
    assert_eq!(numbers(&claim(&sqlite, soon()).await), [1, 2]);
}

#[tokio::test]
async fn one_claim_of_the_outbox_takes_a_few_large_bodies_and_not_all() {
    let place = Place::new();
    let sqlite = place.open().await;
    append(&sqlite, &(0..12).collect::<Vec<_>>(), None, Duration::ZERO).await;
    let other = Connection::open(place.path()).unwrap();
    other.execute("UPDATE tramline_outbox SET body = zeroblob(2000000)", []).unwrap();
    assert_eq!(claim(&sqlite, soon()).await.len(), 5, "one more than 8 MiB hold");
    assert_eq!(claim(&sqlite, soon()).await.len(), 5);
    assert_eq!(claim(&sqlite, soon()).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_relay_whose_process_is_gone_are_free_at_once() {
    let place = Place::new();
    let (one, other) =
        (place.isolated().open().await.unwrap(), place.isolated().open().await.unwrap());
    append(&one, &[1, 2], None, Duration::ZERO).await;
    let hour = Duration::from_secs(3600);
    assert_eq!(one.outbox().claim(10, hour, soon()).await.unwrap().len(), 2);
    assert_eq!(other.outbox().claim(10, hour, soon()).await.unwrap(), []);
    drop(one);
    let mut free = Vec::new();
    let begun = std::time::Instant::now();
    while free.is_empty() && begun.elapsed() < Duration::from_secs(10) {
        free = other.outbox().claim(10, hour, soon()).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(free.len(), 2);
}

#[tokio::test]
async fn claims_walk_past_what_stands_behind_a_parked_row_once_and_not_each_time() {
    let place = Place::new();
    let sqlite = place.open().await;
    append(&sqlite, &(0..2500).collect::<Vec<_>>(), Some("a"), Duration::ZERO).await;
    append(&sqlite, &[9000], Some("b"), Duration::ZERO).await;
    let first = sqlite.outbox().claim(1, LEASE, soon()).await.unwrap();
    sqlite.outbox().park(first[0].token, "no such exchange").await.unwrap();
    assert_eq!(numbers(&claim(&sqlite, soon()).await), [9000], "however many stand before it");
    let count = "SELECT count(*) FROM tramline_outbox";
    let other = Connection::open(place.path()).unwrap();
    let walked: i64 = other.query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(walked, 1, "the next claim meets the row at work alone");
    assert_eq!(sqlite.outbox().depth().await.unwrap(), (2500, 1));
    assert_eq!(sqlite.outbox().release().await.unwrap(), 1);
    let rows = sqlite.outbox().claim(3000, LEASE, soon()).await.unwrap();
    assert_eq!(numbers(&rows), (0..2500).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_discarded_row_frees_its_key_as_far_as_the_next_parked_one() {
    let place = Place::new();
    let sqlite = place.open().await;
    let outbox = sqlite.outbox();
    append(&sqlite, &[1, 2, 3, 4], Some("a"), Duration::ZERO).await;
    let rows = claim(&sqlite, soon()).await;
    outbox.park(rows[0].token, "too large").await.unwrap();
    outbox.give_back(&[rows[1].token, rows[3].token], soon()).await.unwrap();
    outbox.park(rows[2].token, "too large").await.unwrap();
    let later = soon().after(Duration::from_secs(60));
    assert_eq!(claim(&sqlite, later).await, []);
    let parked = outbox.parked(None, 1).await.unwrap();
    assert_eq!((parked[0].attempts, parked[0].error.as_str()), (1, "too large"));
    assert_eq!(parked[0].outgoing.as_ref(), Some(&rows[0].outgoing));
    let rest = outbox.parked(Some(parked[0].row), 10).await.unwrap();
    assert_eq!(rest.len(), 1);
    let waiting = rows[1].token.row;
    assert_eq!(outbox.discard(&[parked[0].row, waiting]).await.unwrap(), 1, "what waits stays");
    let freed = claim(&sqlite, later).await;
    assert_eq!(numbers(&freed), [2]);
    outbox.sent(&[freed[0].token]).await.unwrap();
    assert_eq!(claim(&sqlite, later).await, []);
    assert_eq!(outbox.discard(&[rest[0].row]).await.unwrap(), 1);
    assert_eq!(numbers(&claim(&sqlite, later).await), [4]);
}

#[tokio::test]
async fn a_row_that_was_given_back_is_overtaken_by_no_row_of_its_key() {
    let place = Place::new();
    let sqlite = place.open().await;
    append(&sqlite, &[1], Some("a"), Duration::ZERO).await;
    let rows = claim(&sqlite, soon()).await;
    let until = soon().after(Duration::from_secs(20));
    sqlite.outbox().give_back(&[rows[0].token], until).await.unwrap();
    append(&sqlite, &[2], Some("a"), Duration::ZERO).await;
    append(&sqlite, &[3], Some("b"), Duration::ZERO).await;
    assert_eq!(numbers(&claim(&sqlite, soon()).await), [3]);
    let rows = claim(&sqlite, until).await;
    assert_eq!((numbers(&rows), rows[0].attempts), (vec![1, 2], 0), "nothing was charged");
}
