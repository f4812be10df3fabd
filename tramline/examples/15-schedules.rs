//! Schedules: a reminder that leaves unless the order is paid, both decided in the transactions of the handlers; and a
//! message that recurs, once for all instances of a service.
//!
//! `cargo run -p tramline --example 15-schedules --features cron`

#![expect(clippy::print_stdout, reason = "it shows what happens")]

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tramline::schedules::{Cancelled, Scheduled};
use tramline::sqlite::Sqlite;
use tramline::{Bus, CatchUp, Endpoint, Failure, Message, Planner, Recurring};

#[derive(Serialize, Deserialize)]
struct Placed {
    order: u64,
}
impl Message for Placed {
    const NAME: &'static str = "orders.placed";
}

#[derive(Serialize, Deserialize)]
struct Remind {
    order: u64,
}
impl Message for Remind {
    const NAME: &'static str = "orders.remind";
}

#[derive(Serialize, Deserialize)]
struct MakeReport;
impl Message for MakeReport {
    const NAME: &'static str = "reports.make";
}

/// The reminder is there if and only if this is committed. `planner.cancel(…)` works the same way.
async fn placed(order: Placed, planner: Planner) -> Result<(), Failure> {
    let soon = Duration::from_millis(100);
    planner.schedule(format!("reminder:{}", order.order), soon, &Remind { order: order.order })
}

async fn remind(reminder: Remind) {
    println!("order {} is not paid", reminder.order);
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let file = Sqlite::open(folder.path().join("orders.db")).await?;
    let nightly = Recurring::cron("0 3 * * *", "Europe/Berlin")?.after_downtime(CatchUp::Once);
    let bus = Bus::builder(file.clone())
        .store(file.clone())
        .schedules(&file)
        .recurring("nightly-report", nightly, MakeReport)
        .endpoint(Endpoint::new("orders").subscribe::<Placed>().transactional().handle(placed))
        .endpoint(Endpoint::new("reminders").subscribe::<Remind>().handle(remind))
        .start()
        .await?;
    bus.publish(&Placed { order: 1 }).await?;

    // From any process: the same name again replaces, and whoever cancels learns whether it was in time.
    let day = Duration::from_secs(24 * 60 * 60);
    bus.schedule("reminder:2", day, &Remind { order: 2 }).await?;
    assert_eq!(bus.cancel("reminder:2").await?, Cancelled::Cancelled);
    assert_eq!(bus.cancel("reminder:3").await?, Cancelled::NotYetKnown);
    let overtaken = bus.schedule("reminder:3", day, &Remind { order: 3 }).await?;
    assert_eq!(overtaken, Scheduled::AlreadyCancelled);

    for report in bus.schedules()?.recurring().await? {
        println!("{}: {}", report.name, report.rhythm);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(bus.cancel("reminder:1").await?, Cancelled::TooLate);
    let _drained = bus.drain(Duration::from_secs(5)).await?;
    Ok(())
}
