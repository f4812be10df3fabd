//! Futures that are dropped before they end.

use crate::kit::{Place, id, next, numbers, put, receiver, send, within};
use std::sync::mpsc;
use tramline_core::settlement::Settlement;
use tramline_core::transport::{Delivery, Receiver};
use tramline_sqlite::{Db, Sqlite};

/// Keeps the writer at work until it is let go.
async fn hold(sqlite: &Sqlite) -> (mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
    let (release, held) = mpsc::channel::<()>();
    let (running, runs) = mpsc::channel();
    let held = parking_lot::Mutex::new(held);
    let sqlite = sqlite.clone();
    let holder = tokio::spawn(async move {
        let hold = move |_: &Db<'_>| {
            let _ = running.send(());
            let _ = held.lock().recv();
            Ok(())
        };
        sqlite.write(hold).await.unwrap();
    });
    tokio::task::spawn_blocking(move || runs.recv()).await.unwrap().unwrap();
    (release, holder)
}

#[tokio::test]
async fn a_write_that_is_dropped_before_its_turn_does_not_happen() {
    let place = Place::new();
    let sqlite = place.open().await;
    let (release, holder) = hold(&sqlite).await;
    {
        let mut write = std::pin::pin!(put(&sqlite, 1));
        let polled =
            std::future::poll_fn(|cx| std::task::Poll::Ready(write.as_mut().poll(cx).is_ready()));
        assert!(!polled.await, "the writer is held");
    }
    drop(release);
    within(holder).await.unwrap();
    put(&sqlite, 2).await;
    assert_eq!(numbers(&sqlite).await, [2]);
}

#[tokio::test]
async fn a_settlement_that_is_dropped_before_its_turn_happens_all_the_same() {
    let place = Place::new();
    let sqlite = place.open().await;
    send(&sqlite, ["a", "b"]).await;
    let mut consumer = receiver(&sqlite, 1).await;
    let delivery = next(&mut consumer).await;
    let (release, holder) = hold(&sqlite).await;
    {
        let mut settle = std::pin::pin!(delivery.settle(Settlement::Ack));
        let polled =
            std::future::poll_fn(|cx| std::task::Poll::Ready(settle.as_mut().poll(cx).is_ready()));
        assert!(!polled.await, "the writer is held");
    }
    drop(release);
    within(holder).await.unwrap();
    assert_eq!(id(&next(&mut consumer).await), "b", "`a` was acked");
}

#[tokio::test]
async fn what_a_dropped_receiver_asked_for_comes_back() {
    let place = Place::new();
    let sqlite = place.open().await;
    let mut dropped = receiver(&sqlite, 10).await;
    let (release, holder) = hold(&sqlite).await;
    {
        let mut next = std::pin::pin!(dropped.next());
        let polled =
            std::future::poll_fn(|cx| std::task::Poll::Ready(next.as_mut().poll(cx).is_ready()));
        assert!(!polled.await, "the writer is held");
    }
    drop(dropped);
    drop(release);
    within(holder).await.unwrap();
    send(&sqlite, ["a"]).await;
    assert_eq!(id(&next(&mut receiver(&sqlite, 1).await).await), "a");
}
