//! Random walks over a file beside a model.

use crate::kit::{DAY, PATIENCE, Place};
use std::sync::Arc;
use tramline_conformance::{Walk, walk};
use tramline_core::clock::{Clock, ManualClock, SystemClock};
use tramline_sqlite::rusqlite::Connection;
use tramline_sqlite::{Sqlite, Sync};

async fn open(place: &Place, clock: &ManualClock) -> Sqlite {
    let options =
        place.isolated().clock(Arc::new(clock.clone())).lease(1000 * DAY).sync(Sync::Normal);
    options.open().await.unwrap()
}

#[test]
fn what_chance_does_to_a_file_does_to_it_what_it_does_to_a_model() {
    for seed in 0..12 {
        tramline_conformance::run(async {
            let place = Place::new();
            let clock = ManualClock::at(SystemClock.now());
            let handles = [open(&place, &clock).await, open(&place, &clock).await];
            let lose = async || {
                let connection = Connection::open(place.path()).unwrap();
                connection.busy_timeout(PATIENCE).unwrap();
                connection.execute("UPDATE tramline_process SET lease_until = 0", []).unwrap();
                // Whoever opens the file takes back what was held for too long.
                drop(open(&place, &clock).await);
            };
            walk(Walk { handles, clock: clock.clone(), lose }, seed, 200).await;
            assert_nothing_is_left(&place);
        });
    }
}

/// A body for each message that is kept, and nothing else of what the walk has sent.
fn assert_nothing_is_left(place: &Place) {
    let connection = Connection::open(place.path()).unwrap();
    let count = |sql: &str| -> i64 { connection.query_row(sql, [], |row| row.get(0)).unwrap() };
    for table in ["ready", "behind", "delayed", "leased", "dead", "lane"] {
        assert_eq!(count(&format!("SELECT count(*) FROM tramline_{table}")), 0, "{table}");
    }
    assert_eq!(count("SELECT sum(abs(count)) FROM tramline_length"), 0);
    let kept = count("SELECT count(*) FROM tramline_completed");
    assert_eq!(count("SELECT coalesce(sum(refs), 0) FROM tramline_body"), kept);
    assert_eq!(count("SELECT count(*) FROM tramline_body"), kept);
}
