//! What queues may wish for: a length, no duplicates, a memory. Kept right whatever happens.

use crate::kit::{
    DAY, Place, declare_as, id, message, next, offer, receiver, send, send_keyed, until, work,
};
use std::sync::Arc;
use std::time::Duration;
use tramline_core::capabilities::Ordering;
use tramline_core::clock::{Clock, ManualClock, SystemClock, SystemEntropy};
use tramline_core::codec::Encoding;
use tramline_core::compose::{Composer, Publishing, Scope};
use tramline_core::dead::Reason;
use tramline_core::envelope::Envelope;
use tramline_core::name::{QueueName, QueueRef, TopicName};
use tramline_core::operate::{Operate, Redrive};
use tramline_core::settlement::{Marks, Settlement};
use tramline_core::store::{CommitError, Committed, Condition, Store};
use tramline_core::topology::{QueueSpec, Rule, Subscription, Topology};
use tramline_core::transport::{CopyOf, Delivery, Destination, Outgoing, Sent, Transport};
use tramline_core::{ErrorKind, Failure};
use tramline_sqlite::rusqlite::Connection;
use tramline_sqlite::{Db, Sqlite, SqliteDelivery};

fn error_of(sent: Sent) -> tramline_core::Error {
    match sent {
        Sent::Refused(error) => error,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

async fn accepted(sqlite: &Sqlite, id: &str) {
    offer(sqlite, id, |_| {}).await.into_result().unwrap();
}

fn ask(place: &Place, sql: &str) -> i64 {
    let connection = Connection::open(place.path()).unwrap();
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// The counter says what there is.
fn assert_counted(place: &Place, expected: i64) {
    let counted = ask(place, "SELECT count FROM tramline_length");
    let is = ask(
        place,
        "SELECT (SELECT count(*) FROM tramline_ready) + (SELECT count(*) FROM tramline_behind)
             + (SELECT count(*) FROM tramline_delayed)
             + (SELECT count(*) FROM tramline_leased WHERE reason IS NULL)",
    );
    assert_eq!((counted, is), (expected, expected));
}

async fn settle(delivery: SqliteDelivery, how: Settlement) {
    delivery.settle(how).await.unwrap();
}

fn bury() -> Settlement {
    Settlement::DeadLetter { reason: Reason::Permanent, failures: 1, notes: Vec::new() }
}

fn retry(after: Duration) -> Settlement {
    Settlement::Retry { after, failures: 1, notes: Vec::new(), marks: Marks::default() }
}

fn outside() -> Scope {
    let composer = Composer {
        encoding: Encoding::default(),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    };
    Scope::outside(Arc::new(composer), Publishing::Queues)
}

fn subscription(queue: &str, topic: &str) -> Subscription {
    let (queue, topic) = (QueueName::new(queue).unwrap(), TopicName::new(topic).unwrap());
    Subscription { queue, topic, rules: vec![Rule::subject("#")] }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_full_for_all_processes_and_for_every_queue_of_the_message() {
    let place = Place::new();
    let (one, other) =
        (place.isolated().open().await.unwrap(), place.isolated().open().await.unwrap());
    let small = QueueSpec { length_max: Some(2), ..QueueSpec::new(work()) };
    let wide = QueueSpec::new(QueueName::new("wide").unwrap());
    let subscriptions = vec![subscription("work", "test"), subscription("wide", "test")];
    let topology = Topology { queues: vec![small, wide], subscriptions, ..Topology::default() };
    one.declare(&topology).await.unwrap();
    other.declare(&topology).await.unwrap();
    let to_both = |outgoing: &mut Outgoing| {
        let name = TopicName::new("test").unwrap();
        outgoing.to = Destination::Topic { name, subject: "test.noted".into() };
    };
    accepted(&one, "1").await;
    offer(&other, "2", to_both).await.into_result().unwrap();
    let error = error_of(offer(&other, "3", to_both).await);
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(error.to_string().contains("queue work"), "{error}");
    let wide = QueueName::new("wide").unwrap();
    assert_eq!(one.depth(&wide).await.unwrap().ready.known(), Some(1), "refused whole");
    let copy = |outgoing: &mut Outgoing| outgoing.copy = Some(CopyOf::Redrive);
    offer(&one, "4", copy).await.into_result().unwrap();
    assert_counted_of_work(&place, 3);
    let mut here = receiver(&other, 10).await;
    let (first, second) = (next(&mut here).await, next(&mut here).await);
    assert_eq!(error_of(offer(&one, "5", |_| {}).await).kind(), ErrorKind::Full, "at work counts");
    settle(first, Settlement::Ack).await;
    settle(second, Settlement::Ack).await;
    accepted(&one, "5").await;
    assert_counted_of_work(&place, 2);
}

fn assert_counted_of_work(place: &Place, expected: i64) {
    assert_eq!(ask(place, "SELECT count FROM tramline_length"), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_count_of_a_queue_stays_right_whatever_becomes_of_its_messages() {
    let place = Place::new();
    let clock = ManualClock::at(SystemClock.now());
    let open = async || place.isolated().clock(Arc::new(clock.clone())).open().await.unwrap();
    let sqlite = open().await;
    let wish = |spec: &mut QueueSpec| {
        spec.length_max = Some(100);
        spec.ordering = Ordering::PerKey;
    };
    declare_as(&sqlite, wish).await;
    for n in 0..4 {
        send_keyed(&sqlite, &format!("a{n}"), "a").await;
    }
    send(&sqlite, ["ack", "bury", "retry", "return"]).await;
    let later = clock.now().after(DAY);
    offer(&sqlite, "later", |outgoing| outgoing.due = Some(later)).await.into_result().unwrap();
    assert_counted(&place, 9);
    let mut here = receiver(&sqlite, 10).await;
    let mut taken = Vec::new();
    for _ in 0..5 {
        taken.push(next(&mut here).await);
    }
    assert_counted(&place, 9);
    drop(here);
    for delivery in taken {
        match id(&delivery).as_str() {
            "ack" => settle(delivery, Settlement::Ack).await,
            "a0" | "bury" => settle(delivery, bury()).await,
            "retry" => settle(delivery, retry(Duration::from_secs(60))).await,
            _ => settle(delivery, Settlement::Return).await,
        }
    }
    assert_counted(&place, 6);
    assert_eq!(sqlite.redrive(&work(), Redrive::all()).await.unwrap(), 2);
    assert_counted(&place, 8);
    drop(sqlite);
    let sqlite = open().await;
    let expired = |outgoing: &mut Outgoing| {
        Arc::make_mut(&mut outgoing.envelope).expires_at = Some(clock.now());
    };
    offer(&sqlite, "expired", expired).await.into_result().unwrap();
    assert_counted(&place, 9);
    let mut here = receiver(&sqlite, 10).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let delivery = next(&mut here).await;
        ids.push(id(&delivery));
        if ids.len() == 1 {
            settle(delivery, Settlement::Ack).await;
        }
    }
    drop(here);
    assert_eq!(ids, ["a1", "return", "bury"]);
    // Of the key `a`, 2 and 3 wait and 0 was redriven behind them.
    until(async || ask(&place, "SELECT count(*) FROM tramline_leased"), |leased| *leased == 0)
        .await;
    assert_counted(&place, 7);
    assert_eq!(sqlite.purge(&QueueRef::Main(work())).await.unwrap(), 5);
    assert_counted(&place, 2);
    clock.advance(2 * DAY);
    assert_eq!(sqlite.purge(&QueueRef::Main(work())).await.unwrap(), 2);
    assert_counted(&place, 0);
    assert_eq!(ask(&place, "SELECT count(*) FROM tramline_lane"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_finds_a_queue_full_leaves_no_trace_and_may_be_tried_again() {
    let place = Place::new();
    let sqlite = place.open().await;
    let spec =
        QueueSpec { length_max: Some(1), ..QueueSpec::new(QueueName::new("small").unwrap()) };
    let topology = Topology { queues: vec![spec], ..Topology::default() };
    sqlite.declare(&topology).await.unwrap();
    send(&sqlite, ["1"]).await;
    let to_small = |id: &str| {
        let mut outgoing = message(id);
        outgoing.to = Destination::Queue(QueueRef::Main(QueueName::new("small").unwrap()));
        outgoing
    };
    let ack = async |buffered: Vec<Outgoing>| {
        let mut here = receiver(&sqlite, 1).await;
        let delivery = next(&mut here).await;
        let tx = sqlite.begin(outside()).await.unwrap();
        let insert =
            |db: &Db<'_>| Ok(db.execute("INSERT INTO numbers VALUES (7)", []).map(drop)?);
        tx.write(insert).unwrap();
        let conditions = vec![Condition::Ack(delivery.ticket().unwrap())];
        let committed = sqlite.commit(tx, conditions, buffered).await;
        if committed.is_ok() {
            delivery.settled_by_store();
        }
        committed
    };
    let error = ack(vec![to_small("a"), to_small("b")]).await.unwrap_err();
    let CommitError::Handler(failure) = error else { panic!("expected a failure: {error}") };
    assert!(!failure.is_permanent() && failure.to_string().contains("small"), "{failure}");
    assert_counted_of_work(&place, 0);
    assert_eq!(ask(&place, "SELECT count(*) FROM numbers"), 0);
    assert_eq!(ack(vec![to_small("a")]).await.unwrap(), Committed::Done);
    assert_counted_of_work(&place, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_count_is_right_after_a_group_was_taken_down_and_ran_again() {
    let place = Place::new();
    let sqlite = place.open().await;
    let spec =
        QueueSpec { length_max: Some(9), ..QueueSpec::new(QueueName::new("small").unwrap()) };
    let topology = Topology { queues: vec![spec], ..Topology::default() };
    sqlite.declare(&topology).await.unwrap();
    crate::kit::put(&sqlite, 1).await;
    let to_small = |outgoing: &mut Outgoing| {
        outgoing.to = Destination::Queue(QueueRef::Main(QueueName::new("small").unwrap()));
    };
    let guilty = async || {
        let take_down = |db: &Db<'_>| {
            let _ = db.execute("INSERT OR ROLLBACK INTO numbers VALUES (1)", []);
            Ok(())
        };
        let written: Result<(), Failure> = sqlite.write(take_down).await;
        assert!(written.is_err());
    };
    for n in 0..9 {
        let id = n.to_string();
        let (sent, ()) = tokio::join!(offer(&sqlite, &id, to_small), guilty());
        sent.into_result().unwrap();
    }
    assert_counted(&place, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_within_the_window_is_dropped_by_all_processes_and_forgotten_behind_it() {
    let place = Place::new();
    let clock = ManualClock::at(SystemClock.now());
    let open = async || place.isolated().clock(Arc::new(clock.clone())).open().await.unwrap();
    let (one, other) = (open().await, open().await);
    declare_as(&one, |spec| spec.dedup_window = Some(DAY)).await;
    let keyed = |outgoing: &mut Outgoing| {
        Arc::make_mut(&mut outgoing.envelope).idempotency_key = Some("1".to_owned());
    };
    let depth = async || one.depth(&work()).await.unwrap().ready.known();
    accepted(&one, "1").await;
    let again = offer(&other, "1", |_| {}).await;
    assert!(matches!(again, Sent::Accepted { routed: Some(true) }), "{again:?}");
    assert_eq!(depth().await, Some(1));
    offer(&other, "2", keyed).await.into_result().unwrap();
    offer(&one, "3", keyed).await.into_result().unwrap();
    assert_eq!(depth().await, Some(2), "the key 1 is not the id 1");
    let copy = |outgoing: &mut Outgoing| outgoing.copy = Some(CopyOf::Redrive);
    offer(&one, "1", copy).await.into_result().unwrap();
    assert_eq!(depth().await, Some(3), "copies pass");
    clock.advance(DAY);
    accepted(&other, "1").await;
    assert_eq!(depth().await, Some(4));
    clock.advance(2 * DAY);
    let seen = async || ask(&place, "SELECT count(*) FROM tramline_seen");
    until(seen, |seen| *seen == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handled_messages_and_dead_letters_are_kept_for_their_time() {
    let place = Place::new();
    let clock = ManualClock::at(SystemClock.now());
    let sqlite = place.isolated().clock(Arc::new(clock.clone())).open().await.unwrap();
    let wish = |spec: &mut QueueSpec| {
        spec.keep_completed = Some(DAY);
        spec.keep_dead = Some(3 * DAY);
    };
    declare_as(&sqlite, wish).await;
    send(&sqlite, ["1", "2", "dead", "3"]).await;
    let mut here = receiver(&sqlite, 10).await;
    let (first, second) = (next(&mut here).await, next(&mut here).await);
    settle(second, Settlement::Ack).await;
    let tx = sqlite.begin(outside()).await.unwrap();
    let conditions = vec![Condition::Ack(first.ticket().unwrap())];
    assert_eq!(sqlite.commit(tx, conditions, Vec::new()).await.unwrap(), Committed::Done);
    first.settled_by_store();
    settle(next(&mut here).await, bury()).await;
    settle(next(&mut here).await, Settlement::Return).await;
    let completed = async |after| sqlite.completed(&work(), after, 10).await.unwrap();
    let ids = |envelopes: &[Arc<Envelope>]| {
        envelopes.iter().map(|one| one.id.as_ref().unwrap().to_string()).collect::<Vec<_>>()
    };
    let kept = completed(None).await;
    let envelopes: Vec<_> = kept.iter().map(|one| one.envelope.clone()).collect();
    assert_eq!(ids(&envelopes), ["2", "1"], "in the order in which they were handled");
    assert_eq!((kept[0].at, kept[0].failures), (clock.now(), 0));
    assert_eq!(completed(Some(kept[0].position)).await, kept[1..]);
    clock.advance(2 * DAY);
    until(async || completed(None).await.len(), |kept| *kept == 0).await;
    let dead = async || sqlite.depth(&work()).await.unwrap().dead.known();
    assert_eq!(dead().await, Some(1));
    clock.advance(2 * DAY);
    until(dead, |dead| *dead == Some(0)).await;
    assert_eq!(ask(&place, "SELECT count(*) FROM tramline_body"), 1, "3 alone is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_remembered_by_the_file_and_get_messages_until_somebody_ends_them() {
    let place = Place::new();
    let sqlite = place.isolated().open().await.unwrap();
    let queues = vec![QueueSpec::new(work())];
    let (old, new) = (subscription("work", "old"), subscription("work", "new"));
    let both = Topology {
        queues: queues.clone(),
        subscriptions: vec![old.clone(), new.clone()],
        ..Topology::default()
    };
    sqlite.declare(&both).await.unwrap();
    assert_eq!(sqlite.orphans().await.unwrap(), []);
    let one = Topology { queues, subscriptions: vec![new.clone()], ..Topology::default() };
    sqlite.declare(&one).await.unwrap();
    drop(sqlite);
    let sqlite = place.isolated().open().await.unwrap();
    assert_eq!(sqlite.orphans().await.unwrap(), std::slice::from_ref(&old));
    let to_old = |outgoing: &mut Outgoing| {
        outgoing.to = Destination::Topic { name: old.topic.clone(), subject: "old".into() };
    };
    offer(&sqlite, "1", to_old).await.into_result().unwrap();
    assert_eq!(sqlite.depth(&work()).await.unwrap().ready.known(), Some(1));
    sqlite.declare(&both).await.unwrap();
    assert_eq!(sqlite.orphans().await.unwrap(), [], "asked for again");
    sqlite.declare(&one).await.unwrap();
    assert!(sqlite.unsubscribe(&work(), &old.topic).await.unwrap());
    assert!(!sqlite.unsubscribe(&work(), &old.topic).await.unwrap());
    assert_eq!(sqlite.subscriptions().await.unwrap(), [new]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_with_a_rate_goes_by_the_clock_and_ends_where_it_is_dropped() {
    let place = Place::new();
    let clock = ManualClock::at(SystemClock.now());
    let sqlite = place.isolated().clock(Arc::new(clock.clone())).open().await.unwrap();
    declare_as(&sqlite, |_| {}).await;
    let dead = |outgoing: &mut Outgoing| outgoing.to = Destination::Queue(QueueRef::Dead(work()));
    for n in 0..50 {
        offer(&sqlite, &n.to_string(), dead).await.into_result().unwrap();
    }
    let what = Redrive { rate: Some(20), ..Redrive::all() };
    let mut redrive = Box::pin(tokio::spawn({
        let (sqlite, what) = (sqlite.clone(), what.clone());
        async move { sqlite.redrive(&work(), what).await }
    }));
    let ready = async || sqlite.depth(&work()).await.unwrap().ready.known().unwrap();
    let asleep = async || clock.next_wake();
    for n in 1..=10 {
        until(ready, |ready| *ready == 2 * n).await;
        let due = clock.now().after(Duration::from_millis(100));
        until(asleep, |wake| wake.is_some_and(|at| at <= due)).await;
        assert_eq!(ready().await, 2 * n, "no more until the clock has moved");
        clock.advance(Duration::from_millis(100));
    }
    redrive.abort();
    assert!((&mut redrive).await.unwrap_err().is_cancelled());
    // The step that was on its way to the writer is in or was taken back once this is.
    sqlite.write(|_| Ok(())).await.unwrap();
    let moved = ready().await;
    assert!((20..=24).contains(&moved), "it has ended: {moved}");
    let counted = Redrive { dry_run: true, ..what };
    assert_eq!(sqlite.redrive(&work(), counted).await.unwrap(), 50 - moved);
}
