//! Rows that somebody has damaged stand in nobody's way.

use crate::kit::{Place, id, message, next, receiver, send, work};
use tramline_core::name::QueueRef;
use tramline_core::operate::{Operate, Redrive};
use tramline_core::settlement::Settlement;
use tramline_core::transport::Delivery;
use tramline_sqlite::rusqlite::Connection;

#[tokio::test]
async fn what_cannot_be_read_is_handed_out_under_a_name_that_nobody_has_and_the_others_with_it() {
    let place = Place::new();
    let sqlite = place.open().await;
    send(&sqlite, ["1", "2", "3", "4", "5"]).await;
    let other = Connection::open(place.path()).unwrap();
    for (id, change) in [
        (1, "envelope = X'FF00'"),
        (2, "envelope = CAST(X'7BFF7D' AS TEXT)"),
        (3, "body = 17"),
        (4, "envelope = '{'"),
    ] {
        let sql = format!("UPDATE tramline_body SET {change} WHERE id = {id}");
        assert_eq!(other.execute(&sql, []).unwrap(), 1);
    }
    let mut here = receiver(&sqlite, 10).await;
    for _ in 0..4 {
        let delivery = next(&mut here).await;
        assert_eq!(delivery.envelope().name.as_deref(), Some("unreadable envelope"));
        let reason = tramline_core::dead::Reason::Unhandled;
        let bury = Settlement::DeadLetter { reason, failures: 0, notes: Vec::new() };
        delivery.settle(bury).await.unwrap();
    }
    let last = next(&mut here).await;
    assert_eq!(id(&last), "5");
    let dead = QueueRef::Dead(work());
    assert_eq!(sqlite.peek(&dead, None, 10).await.unwrap().len(), 4, "operators see them");
    let wanted = message("5").envelope.id.clone().unwrap();
    assert!(sqlite.find(&dead, &wanted).await.unwrap().is_none(), "and search past them");
    assert_eq!(sqlite.redrive(&work(), Redrive::all()).await.unwrap(), 4);
}
