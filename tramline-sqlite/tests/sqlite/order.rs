//! Order by key, between processes and across their ends.

use crate::kit::{
    Place, declare, declare_as, id, next, offer, receiver, send, send_keyed, within, work,
};
use std::sync::Arc;
use std::time::Duration;
use tramline_core::capabilities::Ordering;
use tramline_core::clock::{Clock, SystemClock, Timestamp};
use tramline_core::dead::Reason;
use tramline_core::name::QueueRef;
use tramline_core::operate::{Operate, Redrive};
use tramline_core::settlement::{Marks, Settled, Settlement};
use tramline_core::transport::{Delivery, Outgoing, Receiver, Source, Transport};
use tramline_sqlite::rusqlite::Connection;
use tramline_sqlite::{Sqlite, SqliteDelivery, SqliteReceiver};

async fn ordered(place: &Place) -> Sqlite {
    let sqlite = place.isolated().open().await.unwrap();
    declare_as(&sqlite, |spec| spec.ordering = Ordering::PerKey).await;
    sqlite
}

async fn settle(delivery: SqliteDelivery, how: Settlement) {
    assert_eq!(within(delivery.settle(how)).await.unwrap(), Settled::Done);
}

fn retry(after: Duration) -> Settlement {
    Settlement::Retry { after, failures: 1, notes: Vec::new(), marks: Marks::default() }
}

fn bury() -> Settlement {
    Settlement::DeadLetter { reason: Reason::Permanent, failures: 1, notes: Vec::new() }
}

/// Takes and acks until `count` came, one at a time. Answers their ids.
async fn handled(receiver: &mut SqliteReceiver, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let delivery = next(receiver).await;
        ids.push(id(&delivery));
        settle(delivery, Settlement::Ack).await;
    }
    ids
}

fn count(place: &Place, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    Connection::open(place.path()).unwrap().query_row(&sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_of_a_key_is_out_in_all_processes() {
    let place = Place::new();
    let (one, other) = (ordered(&place).await, place.isolated().open().await.unwrap());
    for (id, key) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a")] {
        send_keyed(&one, id, key).await;
    }
    let (mut here, mut there) = (receiver(&one, 1).await, receiver(&other, 10).await);
    let first = next(&mut here).await;
    assert_eq!(id(&first), "a1");
    let beside = next(&mut there).await;
    assert_eq!(id(&beside), "b1", "another key goes on");
    settle(beside, Settlement::Ack).await;
    let depth = one.depth(&work()).await.unwrap();
    assert_eq!((depth.ready.known(), depth.leased.known()), (Some(2), Some(1)));
    settle(first, Settlement::Ack).await;
    drop(here);
    assert_eq!(handled(&mut there, 2).await, ["a2", "a3"]);
    assert_eq!(count(&place, "tramline_lane"), 0, "keys that are done leave nothing behind");
    assert_eq!(count(&place, "tramline_body"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_stays_locked_while_its_message_waits_for_its_retry_and_across_a_restart() {
    let place = Place::new();
    let sqlite = ordered(&place).await;
    send_keyed(&sqlite, "a1", "a").await;
    send_keyed(&sqlite, "a2", "a").await;
    let mut here = receiver(&sqlite, 10).await;
    settle(next(&mut here).await, retry(Duration::from_millis(700))).await;
    drop(here);
    drop(sqlite);
    let sqlite = place.isolated().open().await.unwrap();
    send_keyed(&sqlite, "b1", "b").await;
    let mut here = receiver(&sqlite, 10).await;
    assert_eq!(handled(&mut here, 3).await, ["b1", "a1", "a2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_to_a_process_that_is_gone_keeps_its_key() {
    let place = Place::new();
    let (one, other) = (ordered(&place).await, place.isolated().open().await.unwrap());
    send_keyed(&one, "a1", "a").await;
    send_keyed(&one, "a2", "a").await;
    let mut here = receiver(&one, 10).await;
    let taken = next(&mut here).await;
    let connection = Connection::open(place.path()).unwrap();
    connection.busy_timeout(Duration::from_secs(20)).unwrap();
    connection.execute("UPDATE tramline_process SET lease_until = 0", []).unwrap();
    let third = place.isolated().open().await.unwrap();
    let mut there = receiver(&third, 10).await;
    let again = next(&mut there).await;
    assert_eq!((id(&again), again.deliveries()), ("a1".to_owned(), Some(2)));
    within(taken.lost()).await;
    assert_eq!(taken.settle(Settlement::Ack).await.unwrap(), Settled::LeaseLost);
    settle(again, Settlement::Ack).await;
    assert_eq!(handled(&mut there, 1).await, ["a2"]);
    drop(other);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_frees_its_key_and_comes_back_at_the_end_of_it() {
    let place = Place::new();
    let sqlite = ordered(&place).await;
    for id in ["a1", "a2", "a3"] {
        send_keyed(&sqlite, id, "a").await;
    }
    let mut here = receiver(&sqlite, 10).await;
    settle(next(&mut here).await, bury()).await;
    let second = next(&mut here).await;
    assert_eq!(id(&second), "a2");
    assert_eq!(sqlite.redrive(&work(), Redrive::all()).await.unwrap(), 1);
    settle(second, Settlement::Ack).await;
    assert_eq!(handled(&mut here, 2).await, ["a3", "a1"]);
    assert_eq!(count(&place, "tramline_lane"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_head_frees_its_key_and_is_buried_uncharged() {
    let place = Place::new();
    let sqlite = ordered(&place).await;
    for id in ["a1", "a2"] {
        offer(&sqlite, id, |outgoing| {
            let envelope = Arc::make_mut(&mut outgoing.envelope);
            envelope.key = Some("a".to_owned());
            envelope.expires_at = (id == "a1").then_some(Timestamp::from_micros(1));
        })
        .await
        .into_result()
        .unwrap();
    }
    let mut here = receiver(&sqlite, 10).await;
    assert_eq!(handled(&mut here, 1).await, ["a2"]);
    let dead = sqlite.peek(&QueueRef::Dead(work()), None, 10).await.unwrap();
    let death = dead[0].death.as_ref().unwrap();
    assert_eq!((dead.len(), &death.reason, dead[0].failures), (1, &Reason::Expired, 0));
    assert_eq!(sqlite.groups(&work()).await.unwrap()[0].name, "test.noted");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_an_expired_message_from_the_dead_letters_is_not_told_of_processes_that_died() {
    let place = Place::new();
    let sqlite = ordered(&place).await;
    let expired = |outgoing: &mut Outgoing| {
        let past = Some(Timestamp::from_micros(1));
        Arc::make_mut(&mut outgoing.envelope).expires_at = past;
    };
    offer(&sqlite, "a", expired).await.into_result().unwrap();
    let connection = Connection::open(place.path()).unwrap();
    connection.execute("UPDATE tramline_ready SET deliveries = 2", []).unwrap();
    offer(&sqlite, "b", |_| {}).await.into_result().unwrap();
    assert_eq!(handled(&mut receiver(&sqlite, 10).await, 1).await, ["b"]);
    let source = Source::of(QueueRef::Dead(work()), 1);
    let dead = next(&mut sqlite.receiver(&source).await.unwrap()).await;
    assert_eq!((id(&dead).as_str(), dead.deliveries()), ("a", Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_message_locks_its_key_no_sooner_than_it_is_due() {
    let place = Place::new();
    let sqlite = ordered(&place).await;
    let due = SystemClock.now().after(Duration::from_millis(700));
    let scheduled = |outgoing: &mut Outgoing| {
        outgoing.due = Some(due);
        Arc::make_mut(&mut outgoing.envelope).key = Some("a".to_owned());
    };
    offer(&sqlite, "later", scheduled).await.into_result().unwrap();
    send_keyed(&sqlite, "a1", "a").await;
    send_keyed(&sqlite, "a2", "a").await;
    let mut here = receiver(&sqlite, 10).await;
    let first = next(&mut here).await;
    assert_eq!(id(&first), "a1", "what comes later holds nobody up");
    within(SystemClock.sleep_until(due)).await;
    // Whoever asks moves what is due.
    let asked = receiver(&sqlite, 10).await;
    send_keyed(&sqlite, "b1", "b").await;
    assert_eq!(handled(&mut here, 1).await, ["b1"]);
    settle(first, Settlement::Ack).await;
    drop(asked);
    assert_eq!(handled(&mut here, 2).await, ["a2", "later"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_takes_what_waits_behind_a_key_and_leaves_the_key_to_what_comes_next() {
    let place = Place::new();
    let sqlite = ordered(&place).await;
    for id in ["a1", "a2", "a3"] {
        send_keyed(&sqlite, id, "a").await;
    }
    send_keyed(&sqlite, "b1", "b").await;
    let mut here = receiver(&sqlite, 1).await;
    let first = next(&mut here).await;
    assert_eq!(sqlite.purge(&QueueRef::Main(work())).await.unwrap(), 3);
    send_keyed(&sqlite, "a4", "a").await;
    send_keyed(&sqlite, "b2", "b").await;
    let depth = sqlite.depth(&work()).await.unwrap();
    assert_eq!((depth.ready.known(), depth.leased.known()), (Some(2), Some(1)));
    settle(first, Settlement::Ack).await;
    assert_eq!(handled(&mut here, 2).await, ["a4", "b2"]);
    assert_eq!(count(&place, "tramline_body"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_the_whole_queue_lets_one_message_out_whatever_its_key() {
    let place = Place::new();
    let sqlite = place.isolated().open().await.unwrap();
    declare_as(&sqlite, |spec| spec.ordering = Ordering::PerQueue).await;
    send_keyed(&sqlite, "1", "a").await;
    send(&sqlite, ["2"]).await;
    send_keyed(&sqlite, "3", "b").await;
    assert_eq!(count(&place, "tramline_ready"), 1);
    let mut here = receiver(&sqlite, 10).await;
    assert_eq!(handled(&mut here, 3).await, ["1", "2", "3"]);
}

/// What claims and acks of other queues pay: nothing, because these tables stay empty.
#[tokio::test(flavor = "multi_thread")]
async fn queues_without_an_order_have_no_lanes() {
    let place = Place::new();
    let sqlite = place.isolated().open().await.unwrap();
    declare(&sqlite).await;
    send_keyed(&sqlite, "a1", "a").await;
    send_keyed(&sqlite, "a2", "a").await;
    assert_eq!(count(&place, "tramline_lane") + count(&place, "tramline_behind"), 0);
    let mut here = receiver(&sqlite, 10).await;
    let (first, second) = (next(&mut here).await, next(&mut here).await);
    assert_eq!([id(&first), id(&second)], ["a1", "a2"]);
    let _ = within(here.stop()).await;
}
