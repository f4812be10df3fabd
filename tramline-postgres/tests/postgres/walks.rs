//! Random walks over a database beside a model.

use crate::kit::{column, until};
use std::sync::Arc;
use std::time::Duration;
use tramline_conformance::{Walk, walk};
use tramline_core::clock::{Clock, ManualClock, SystemClock};
use tramline_postgres::Postgres;
use tramline_services::testing::Database;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn open(database: &Database, clock: &ManualClock) -> Postgres {
    let options = Postgres::options(database.url.as_str()).lease(1000 * DAY);
    options.clock(Arc::new(clock.clone())).open().await.unwrap()
}

#[test]
fn what_chance_does_to_a_database_does_to_it_what_it_does_to_a_model() {
    for seed in 0..6 {
        let Some(database) = Database::fresh() else { return };
        tramline_conformance::run(async {
            let clock = ManualClock::at(SystemClock.now());
            let handles = [open(&database, &clock).await, open(&database, &clock).await];
            let lose = async || {
                database.sql(
                    "UPDATE tramline.process SET lease_until = 0; SELECT tramline.take_back(1)",
                );
            };
            walk(Walk { handles, clock: clock.clone(), lose }, seed, 150).await;
            assert_nothing_is_left(&database).await;
        });
    }
}

/// Nothing of what the walk has sent, but what was handled and is kept.
async fn assert_nothing_is_left(database: &Database) {
    // Claims end a moment after the last of their messages.
    until(database, "SELECT count(*) FROM tramline.claim", |left| left == ["0"]).await;
    // Who takes next looks at the lanes that were left.
    database.sql(
        "SELECT count(taken) FROM tramline.queue q,
             tramline.take(q.id, 10, 1000000, 1, 1, 'test', 1, NULL, NULL) AS taken",
    );
    for table in ["message", "behind", "delayed", "dead", "lane", "turn", "claim"] {
        let count = format!("SELECT count(*) FROM tramline.{table}");
        assert_eq!(column(database, &count), ["0"], "{table}");
    }
    let lengths = "SELECT queue FROM tramline.length GROUP BY queue HAVING sum(by) <> 0";
    assert_eq!(column(database, lengths), [""; 0]);
}
