//! The file: made by ours, so that twin and ours work on the same tables.

use super::letter::Letter;
use super::rows;
use crate::Result;
use crate::message::{OrderPaid, OrderPlaced};
use rusqlite::Connection;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};
use tramline::{Bus, Endpoint, Sqlite};

/// Gets the orders.
pub(crate) const QUEUE: &str = "orders";
/// Gets the events that the orders' handler publishes.
pub(super) const NEXT_QUEUE: &str = "receipts";

/// Makes the file with its tables, queues and subscriptions.
pub(crate) async fn prepare(path: &Path) -> Result<()> {
    let sqlite = Sqlite::open(path).await?;
    sqlite
        .write(|db| {
            db.execute(crate::store::TABLE, [])?;
            Ok(())
        })
        .await
        .map_err(|failure| failure.to_string())?;
    let orders = Endpoint::new(QUEUE).subscribe::<OrderPlaced>().handle(async |_: OrderPlaced| {});
    let receipts =
        Endpoint::new(NEXT_QUEUE).subscribe::<OrderPaid>().handle(async |_: OrderPaid| {});
    let bus = Bus::builder(sqlite).endpoint(orders).endpoint(receipts).start().await?;
    let _ = bus.drain(Duration::from_secs(10)).await?;
    drop(bus);
    has_left(path).await
}

/// Waits until ours has left the file: on its way out it gives back what no process of its own
/// stands for, and so what the twin has taken.
async fn has_left(path: &Path) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let db = Connection::open(path)?;
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let processes: i64 =
            db.query_row("SELECT count(*) FROM tramline_process", [], |row| row.get(0))?;
        if processes == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Err("ours did not leave the file".into())
}

/// Puts a backlog into the queue of orders, and onto the disk: the first sync of a consumer would
/// otherwise have gigabytes to write that are none of its own. `flags` say how they came.
pub(crate) fn fill(path: &Path, messages: u64, flags: i64) -> Result<()> {
    const AT_ONCE: u64 = 100_000;
    let db = Connection::open(path)?;
    db.pragma_update(None, "synchronous", "OFF")?;
    let queue = queue(&db, QUEUE)?;
    for first in (0..messages).step_by(AT_ONCE as usize) {
        db.execute_batch("BEGIN IMMEDIATE")?;
        for number in first..messages.min(first + AT_ONCE) {
            rows::insert(&db, queue, &Letter::placed(&OrderPlaced::new(number))?, flags)?;
        }
        db.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")?;
    }
    // Not before this connection is gone: to close a file undoes its process's locks on it.
    drop(db);
    File::open(path)?.sync_all()?;
    Ok(())
}

/// The number of a queue.
pub(super) fn queue(db: &Connection, name: &str) -> rusqlite::Result<i64> {
    db.query_row("SELECT id FROM tramline_queue WHERE name = ?1", [name], |row| row.get(0))
}
