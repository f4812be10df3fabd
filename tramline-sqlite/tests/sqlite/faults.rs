//! What goes wrong once must not stand in the way for ever.

use crate::kit::{Place, id, next, numbers, receiver, send, within};
use std::time::Duration;
use tramline_core::Failure;
use tramline_core::clock::{Clock, SystemClock};
use tramline_core::transport::Delivery;
use tramline_sqlite::Db;
use tramline_sqlite::rusqlite::Connection;

/// Another program on the file.
fn other(place: &Place) -> Connection {
    let connection = Connection::open(place.path()).unwrap();
    connection.busy_timeout(crate::kit::PATIENCE).unwrap();
    connection
}

/// How many messages are taken.
async fn wait_until_taken(place: &Place, count: i64) {
    let connection = other(place);
    let taken = || -> i64 {
        let sql = "SELECT count(*) FROM tramline_leased";
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    within(async {
        while taken() != count {
            let soon = SystemClock.now().after(Duration::from_millis(10));
            SystemClock.sleep_until(soon).await;
        }
    })
    .await;
}

#[tokio::test]
async fn messages_that_could_not_be_given_back_come_back_once_they_can_be() {
    let place = Place::new();
    let sqlite = place.open().await;
    send(&sqlite, ["a", "b"]).await;
    let mut consumer = receiver(&sqlite, 2).await;
    let (a, b) = (next(&mut consumer).await, next(&mut consumer).await);
    let stop = "CREATE TRIGGER stop BEFORE INSERT ON tramline_ready
         BEGIN SELECT RAISE(FAIL, 'not now'); END";
    other(&place).execute_batch(stop).unwrap();
    drop((a, b));
    // The writer's answer to this stands behind what it tried to give back.
    crate::kit::put(&sqlite, 1).await;
    wait_until_taken(&place, 2).await;
    other(&place).execute_batch("DROP TRIGGER stop").unwrap();
    wait_until_taken(&place, 0).await;
    let first = next(&mut consumer).await;
    assert_eq!((id(&first), first.failures()), ("a".to_owned(), 0));
    assert_eq!(id(&next(&mut consumer).await), "b");
}

/// Panics when it is dropped.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "dropped");
    }
}

#[tokio::test]
async fn what_a_closure_captured_may_panic_in_its_drop_and_the_writer_goes_on() {
    let place = Place::new();
    let sqlite = place.open().await;
    let grenade = Grenade;
    let kept = move |db: &Db<'_>| {
        let _captured = &grenade;
        db.execute("INSERT INTO numbers VALUES (1)", [])?;
        Ok(())
    };
    sqlite.write(kept).await.expect("its answer came before");
    crate::kit::put(&sqlite, 2).await;
    assert_eq!(numbers(&sqlite).await, [1, 2]);
}

#[tokio::test]
async fn what_a_closure_that_nobody_waits_for_captured_may_panic_too() {
    let place = Place::new();
    let sqlite = place.open().await;
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = parking_lot::Mutex::new(held);
    let holder = tokio::spawn({
        let sqlite = sqlite.clone();
        async move {
            let hold = move |_: &Db<'_>| {
                let _ = held.lock().recv();
                Ok(())
            };
            sqlite.write(hold).await
        }
    });
    tokio::task::yield_now().await;
    {
        let grenade = Grenade;
        let captured = move |_: &Db<'_>| {
            let _captured = &grenade;
            Ok(())
        };
        let mut write = std::pin::pin!(sqlite.write(captured));
        let poll = |cx: &mut std::task::Context<'_>| {
            std::task::Poll::Ready(write.as_mut().poll(cx).is_ready())
        };
        assert!(!std::future::poll_fn(poll).await, "the writer is held");
    }
    drop(release);
    within(holder).await.unwrap().unwrap();
    crate::kit::put(&sqlite, 1).await;
    assert_eq!(numbers(&sqlite).await, [1]);
}

#[tokio::test]
async fn an_error_that_panics_when_it_is_looked_at_fails_its_closure_alone() {
    #[derive(Debug)]
    struct Faceless;
    impl std::fmt::Display for Faceless {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            Ok(())
        }
    }
    impl std::error::Error for Faceless {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            panic!("no source")
        }
    }
    let place = Place::new();
    let sqlite = place.open().await;
    let bad = sqlite.write(|db: &Db<'_>| -> Result<(), Failure> {
        db.execute("INSERT INTO numbers VALUES (1)", [])?;
        Err(Failure::retryable(Faceless))
    });
    let failure = within(bad).await.unwrap_err();
    assert_eq!(failure.to_string(), "panicked: no source");
    crate::kit::put(&sqlite, 2).await;
    assert_eq!(numbers(&sqlite).await, [2]);
}

#[tokio::test]
async fn an_unreadable_envelope_is_of_a_type_that_nobody_knows_and_keeps_its_body() {
    let place = Place::new();
    let sqlite = place.open().await;
    send(&sqlite, ["a"]).await;
    other(&place).execute("UPDATE tramline_body SET envelope = '{\"headers\":7}'", []).unwrap();
    let delivery = next(&mut receiver(&sqlite, 1).await).await;
    let envelope = delivery.envelope();
    assert_eq!(envelope.name.as_deref(), Some("unreadable envelope"));
    assert_eq!((envelope.version, &envelope.body[..]), (u32::MAX, &b"{}"[..]));
}
