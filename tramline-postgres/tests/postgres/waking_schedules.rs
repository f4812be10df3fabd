//! Who fires schedules sleeps until the first one is due, or until something is due earlier.

use crate::kit::{begin, column, open, opened, put, until, within};
use crate::planning::{at, cancel, schedule};
use tramline_core::compose::Publishing;
use tramline_core::store::{Change, Committed, Condition, Plan, Schedules, Store};
use tramline_postgres::Postgres;
use tramline_services::testing::Database;

const ASLEEP: &str = "SELECT count(*) FROM tramline.asleep WHERE queue = -1";

/// What has changed until this process has told others that it wants to be woken. Later, nothing else ends a wait.
async fn asleep(database: &Database, postgres: &Postgres) -> u64 {
    within(async {
        while column(database, ASLEEP) == ["0"] {
            postgres.changed_since(postgres.changes()).await;
        }
        postgres.changes()
    })
    .await
}

async fn planned(postgres: &Postgres, plan: Plan) {
    Schedules::plan(postgres, vec![plan]).await.unwrap();
}

async fn committed(postgres: &Postgres, number: Option<i64>, plan: Plan) {
    let mut tx = begin(postgres, Publishing::Queues).await;
    if let Some(number) = number {
        put(&mut tx, number).await;
    }
    let committed = postgres.commit(tx, vec![Condition::Plan(plan)], Vec::new()).await;
    assert_eq!(committed.unwrap(), Committed::Done);
}

#[tokio::test]
async fn what_is_due_earlier_wakes_whoever_fires_in_another_process() {
    let Some((database, here)) = opened().await else { return };
    let there = open(&database).await;
    let mut seen = asleep(&database, &there).await;
    for nth in 0..3 {
        let plan = schedule(&nth.to_string(), 1, 100 - nth);
        match nth {
            0 => planned(&here, plan).await,
            1 => committed(&here, None, plan).await,
            _ => committed(&here, Some(1), plan).await,
        }
        within(there.changed_since(seen)).await;
        seen = there.changes();
    }
    let recur = Change::Recur { token: 1, rhythm: "daily".to_owned(), due: at(1000) };
    for change in [recur, Change::Pause(true)] {
        planned(&here, Plan { name: "r".to_owned(), now: at(0), change }).await;
        within(there.changed_since(seen)).await;
        seen = there.changes();
    }
}

/// Where others sleep, each call would cost them a look.
#[tokio::test]
async fn only_what_is_due_before_all_else_wakes() {
    let Some((database, postgres)) = opened().await else { return };
    let change = |kind: i32, name: &str, due: i64| {
        let sql = format!(
            "SELECT wakes FROM tramline.change_schedules('{{{kind}}}', '{{{name}}}', '{{1}}', '{{0}}',
                 '{{{due}}}', '{{\"{{}}\"}}', '{{\"{{}}\"}}', '{{\"\"}}', '{{false}}')"
        );
        column(&database, &sql).remove(0) == "t"
    };
    assert!(change(0, "a", 20));
    assert!(!change(0, "b", 30), "later");
    assert!(!change(0, "c", 20), "at the same moment");
    assert!(change(0, "d", 10), "earlier");
    assert!(!change(1, "d", 100), "what is cancelled is not news");
    assert!(!change(0, "d", 5), "nor is what was cancelled before");
    assert!(change(0, "e", 15), "what was cancelled is not the first");
    drop(postgres);
}

/// What others did before they knew that somebody sleeps, they did not tell.
#[tokio::test]
async fn who_goes_to_sleep_looks_once_more() {
    let Some((database, postgres)) = opened().await else { return };
    within(async {
        while column(&database, ASLEEP) == ["0"] {
            let seen = postgres.changes();
            postgres.changed_since(seen).await;
            assert!(postgres.changes() > seen, "each end of a wait is a change");
        }
    })
    .await;
    // A server that crashes forgets who sleeps; whoever is cut off says so again, and has looked.
    database.sql("TRUNCATE tramline.asleep");
    database.cut_all();
    asleep(&database, &postgres).await;
    let other = open(&database).await;
    let seen = postgres.changes();
    planned(&other, schedule("a", 1, 10)).await;
    within(postgres.changed_since(seen)).await;
    planned(&other, cancel("a")).await;
    until(&database, ASLEEP, |asleep| asleep == ["1"]).await;
}
