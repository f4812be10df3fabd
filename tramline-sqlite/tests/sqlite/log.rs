//! The write-ahead log stays short.

use crate::kit::{Place, within};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tramline_sqlite::{Sqlite, Sync};

const MIB: u64 = 1024 * 1024;
const WAL_LIMIT_BYTES: u64 = MIB;
/// A checkpoint is asked for each 4 MiB, and what is written while somebody reads comes on top.
const LOG_BYTES_MAX: u64 = 32 * MIB;
const WRITERS: i64 = 8;
const WRITES: usize = 320;
const WRITE_BYTES: i64 = 64 * 1024;
/// How many writes pass while a reader holds its snapshot, and how many until it takes the next.
///
/// Together no divisor of the writes between two tries to begin the log anew: the tries would meet
/// the reader each time.
const WRITES_BESIDE_A_READ: u32 = 16;
const WRITES_BETWEEN_READS: u32 = 61;

async fn write_without_a_pause(sqlite: Sqlite, row: i64, written: Arc<Semaphore>) {
    for _ in 0..WRITES {
        let put = "INSERT OR REPLACE INTO filler VALUES (?1, randomblob(?2))";
        let write = sqlite.write(move |db| Ok(db.execute(put, [row, WRITE_BYTES])?));
        write.await.unwrap();
        written.add_permits(1);
    }
}

/// Reads again and again, each time until the writers have gone on for a while.
async fn read_now_and_then(sqlite: Sqlite, written: Arc<Semaphore>) {
    loop {
        let runtime = tokio::runtime::Handle::current();
        let beside = written.clone();
        let read = sqlite.read(move |snapshot| {
            snapshot.query_row("SELECT count(*) FROM filler", [], |row| row.get::<_, i64>(0))?;
            let some = runtime.block_on(beside.acquire_many(WRITES_BESIDE_A_READ));
            some.map_err(tramline_core::Failure::retryable)?.forget();
            snapshot.query_row("SELECT count(*) FROM filler", [], |row| row.get::<_, i64>(0))?;
            Ok(())
        });
        // Nobody writes any more once it is closed.
        let Ok(()) = read.await else { return };
        let Ok(some) = written.acquire_many(WRITES_BETWEEN_READS).await else { return };
        some.forget();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_stays_short_under_writes_without_a_pause_and_reads_now_and_then() {
    let place = Place::new();
    let options = place.isolated().sync(Sync::Normal).wal_limit(WAL_LIMIT_BYTES);
    let sqlite = options.open().await.unwrap();
    let create = "CREATE TABLE filler (id INTEGER PRIMARY KEY, bytes BLOB)";
    sqlite.write(move |db| Ok(db.execute(create, [])?)).await.unwrap();

    let written = Arc::new(Semaphore::new(0));
    let reader = tokio::spawn(read_now_and_then(sqlite.clone(), written.clone()));
    let mut writers = JoinSet::new();
    for row in 0..WRITERS {
        writers.spawn(write_without_a_pause(sqlite.clone(), row, written.clone()));
    }
    within(writers.join_all()).await;
    written.close();
    within(reader).await.unwrap();
    // The file keeps the largest size that the log ever had.
    let bytes_max = std::fs::metadata(place.path().with_extension("db-wal")).unwrap().len();
    assert!((WAL_LIMIT_BYTES..LOG_BYTES_MAX).contains(&bytes_max), "{bytes_max}");
}
