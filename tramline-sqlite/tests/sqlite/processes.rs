//! Several processes on one file.

use crate::kit::{PATIENCE, Place, declare_as, id, next, receiver, send, send_keyed, within};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tramline_core::capabilities::Ordering;
use tramline_core::clock::{Clock, ManualClock, SystemClock};
use tramline_core::settlement::{Settled, Settlement};
use tramline_core::transport::Delivery;
use tramline_sqlite::{Sqlite, Sync};

/// Where the child finds the file; only set for the child.
const CHILD_FILE: &str = "TRAMLINE_TEST_CHILD_FILE";
/// How many messages the child takes.
const CHILD_HOLDS: usize = 5;

/// Not a test by itself: what the tests below start as a process of its own.
#[tokio::test]
async fn child() {
    let Ok(path) = std::env::var(CHILD_FILE) else { return };
    let sqlite = Sqlite::options(path).lease(Duration::from_secs(3600)).open().await.unwrap();
    let mut consumer = receiver(&sqlite, CHILD_HOLDS as u32).await;
    let mut held = Vec::new();
    for _ in 0..CHILD_HOLDS {
        held.push(next(&mut consumer).await);
    }
    writeln!(std::io::stdout(), "\nthe child holds {}", held.len()).unwrap();
    std::future::pending::<()>().await;
}

/// Starts the child and waits until it holds its messages.
fn start_child(place: &Place) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::child", "--nocapture"])
        .env(CHILD_FILE, place.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let holds = output.lines().map_while(Result::ok).any(|line| line.contains("the child holds"));
    assert!(holds, "the child ended before it held its messages");
    child
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_held_comes_back_at_once_and_in_its_place() {
    let place = Place::new();
    let sqlite = place.isolated().lease(Duration::from_secs(3600)).open().await.unwrap();
    crate::kit::declare(&sqlite).await;
    send(&sqlite, 0..CHILD_HOLDS + 1).await;
    let mut child = start_child(&place);
    let mut consumer = receiver(&sqlite, 1).await;
    let last = next(&mut consumer).await;
    assert_eq!(id(&last), CHILD_HOLDS.to_string(), "the child holds the others");
    let killed = Instant::now();
    child.kill().unwrap();
    child.wait().unwrap();
    drop(last);
    let mut back = receiver(&sqlite, 10).await;
    let mut ids = BTreeSet::new();
    let mut deliveries = Vec::new();
    for _ in 0..=CHILD_HOLDS {
        let delivery = next(&mut back).await;
        let was_killed = id(&delivery) != CHILD_HOLDS.to_string();
        let counted = if was_killed { 2 } else { 1 };
        assert_eq!(
            delivery.deliveries(),
            Some(counted),
            "a death counts, what was dropped does not"
        );
        ids.insert(id(&delivery));
        deliveries.push(delivery);
    }
    assert!(ids.len() == CHILD_HOLDS + 1 && killed.elapsed() < PATIENCE, "{ids:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_lets_nothing_overtake_in_the_keys_that_it_held() {
    let place = Place::new();
    let sqlite = place.isolated().lease(Duration::from_secs(3600)).open().await.unwrap();
    declare_as(&sqlite, |spec| spec.ordering = Ordering::PerKey).await;
    for round in ["first", "second"] {
        for key in 0..CHILD_HOLDS {
            send_keyed(&sqlite, &format!("{round}-{key}"), &key.to_string()).await;
        }
    }
    let mut child = start_child(&place);
    let mut consumer = receiver(&sqlite, 20).await;
    child.kill().unwrap();
    child.wait().unwrap();
    for round in ["first", "second"] {
        let mut deliveries = Vec::new();
        for _ in 0..CHILD_HOLDS {
            let delivery = next(&mut consumer).await;
            assert!(id(&delivery).starts_with(round), "{} in the {round} round", id(&delivery));
            deliveries.push(delivery);
        }
        for delivery in deliveries {
            assert_eq!(delivery.settle(Settlement::Ack).await.unwrap(), Settled::Done);
        }
    }
}

#[tokio::test]
async fn whoever_starts_finds_what_a_killed_process_held() {
    let place = Place::new();
    let sqlite = place.isolated().open().await.unwrap();
    crate::kit::declare(&sqlite).await;
    send(&sqlite, 0..CHILD_HOLDS).await;
    drop(sqlite);
    let mut child = start_child(&place);
    child.kill().unwrap();
    child.wait().unwrap();
    let sqlite = place.isolated().open().await.unwrap();
    let mut consumer = receiver(&sqlite, 10).await;
    for n in 0..CHILD_HOLDS {
        let delivery = next(&mut consumer).await;
        assert_eq!((id(&delivery), delivery.deliveries()), (n.to_string(), Some(2)));
        delivery.settle(Settlement::Ack).await.unwrap();
    }
}

#[tokio::test]
async fn a_process_that_no_longer_moves_loses_its_lease_and_learns_it() {
    let place = Place::new();
    let lease = Duration::from_secs(30);
    let [stuck_clock, clock] = [(); 2].map(|()| Arc::new(ManualClock::at(SystemClock.now())));
    let stuck = place.isolated().clock(stuck_clock.clone()).lease(lease).open().await.unwrap();
    crate::kit::declare(&stuck).await;
    send(&stuck, ["a"]).await;
    let held = next(&mut receiver(&stuck, 1).await).await;
    let other = place.isolated().clock(clock.clone()).lease(lease).open().await.unwrap();
    let mut consumer = receiver(&other, 1).await;
    clock.advance(lease + Duration::from_secs(1));
    let again = next(&mut consumer).await;
    assert_eq!((id(&again), again.deliveries()), ("a".to_owned(), Some(2)));
    within(held.lost()).await;
    assert_eq!(held.settle(Settlement::Ack).await.unwrap(), Settled::LeaseLost);
    assert_eq!(again.settle(Settlement::Ack).await.unwrap(), Settled::Done);
}

#[tokio::test]
async fn a_heartbeat_keeps_the_lease_of_a_process_that_moves() {
    let place = Place::new();
    let lease = Duration::from_secs(30);
    let [clock, other_clock] = [(); 2].map(|()| Arc::new(ManualClock::at(SystemClock.now())));
    let alive = place.isolated().clock(clock.clone()).lease(lease).open().await.unwrap();
    crate::kit::declare(&alive).await;
    send(&alive, ["a"]).await;
    let held = next(&mut receiver(&alive, 1).await).await;
    let _other = place.isolated().clock(other_clock.clone()).lease(lease).open().await.unwrap();
    for _ in 0..10 {
        // The heart beats before the lease of the last beat has ended.
        clock.advance(lease / 2);
        let until = clock.now().after(lease).as_micros();
        within(async {
            let sql = "SELECT max(lease_until) FROM tramline_process";
            while alive
                .read(move |snapshot| Ok(snapshot.query_row(sql, [], |row| row.get::<_, i64>(0))?))
                .await
                .unwrap()
                < until
            {
                tokio::task::yield_now().await;
            }
        })
        .await;
        other_clock.advance(lease / 2);
    }
    assert_eq!(held.settle(Settlement::Ack).await.unwrap(), Settled::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_a_queue_and_each_message_is_handled_once() {
    const MESSAGES: usize = 400;
    let place = Place::new();
    let [one, two] = [place.open().await, place.open().await];
    let mut consumers = tokio::task::JoinSet::new();
    let (done, mut handled) = tokio::sync::mpsc::unbounded_channel();
    for sqlite in [&one, &two] {
        let (mut consumer, done) = (receiver(sqlite, 4).await, done.clone());
        consumers.spawn(async move {
            let mut count = 0;
            loop {
                let delivery = next(&mut consumer).await;
                let id = id(&delivery);
                if id.starts_with("end") {
                    delivery.settle(Settlement::Ack).await.unwrap();
                    return count;
                }
                assert_eq!(delivery.settle(Settlement::Ack).await.unwrap(), Settled::Done);
                count += 1;
                let _ = done.send(id);
            }
        });
    }
    for n in 0..MESSAGES {
        send(if n % 2 == 0 { &one } else { &two }, [n]).await;
    }
    let mut seen = BTreeSet::new();
    while seen.len() < MESSAGES {
        let id = within(handled.recv()).await.unwrap();
        assert!(seen.insert(id.clone()), "{id} was handled twice");
    }
    // One for each consumer: whoever has one ends.
    send(&one, ["end-1"]).await;
    send(&two, ["end-2"]).await;
    let counts = within(consumers.join_all()).await;
    assert!(counts.iter().all(|count| *count > 0), "each had its share: {counts:?}");
}

#[tokio::test]
async fn a_message_of_another_process_wakes_an_idle_consumer() {
    let place = Place::new();
    let sender = place.isolated().sync(Sync::Normal).open().await.unwrap();
    crate::kit::declare(&sender).await;
    let consumer = place.isolated().sync(Sync::Normal).open().await.unwrap();
    let mut consumer = receiver(&consumer, 1).await;
    let began = Instant::now();
    for n in 0..100 {
        let (delivery, ()) = tokio::join!(next(&mut consumer), send(&sender, [n]));
        assert_eq!(id(&delivery), n.to_string());
        delivery.settle(Settlement::Ack).await.unwrap();
    }
    // By looking into the file once a second it takes more than 10 s, by datagrams a few tenths.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_lock_file_that_was_cleared_away_is_made_again() {
    let place = Place::new();
    let sqlite = place.open().await;
    send(&sqlite, ["a"]).await;
    let folder = place.path().with_extension("db-tramline");
    let locks = || std::fs::read_dir(&folder).map_or(0, |entries| entries.flatten().count());
    assert_eq!(locks(), 1);
    std::fs::remove_dir_all(&folder).unwrap();
    within(async {
        while locks() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Another process finds the lock taken, and leaves alone what is held under it.
    let held = next(&mut receiver(&sqlite, 1).await).await;
    let _other = place.open().await;
    assert_eq!(held.settle(Settlement::Ack).await.unwrap(), Settled::Done);
}
