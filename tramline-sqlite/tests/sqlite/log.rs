//! The write-ahead log stays short.

use crate::kit::{Place, within};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tramline_sqlite::{Sqlite, Sync};

const MIB: u64 = 1024 * 1024;
const WAL_LIMIT_BYTES: u64 = MIB;
/// Readers of the same process are let end while it grows by 4 MiB at most.
const LOG_BYTES_MAX: u64 = 16 * MIB;
/// Twelve tries in a row would have to meet a reader that is there for one fifth of the time.
const LOG_BYTES_MAX_BESIDE_ANOTHER_PROCESS: u64 = 48 * MIB;
const WRITERS: i64 = 8;
const WRITES: usize = 320;
const WRITE_BYTES: i64 = 64 * 1024;
/// How many writes pass while a reader holds its snapshot.
const WRITES_BESIDE_A_READ: u32 = 16;

async fn open(place: &Place) -> Sqlite {
    let options = place.isolated().sync(Sync::Normal).wal_limit(WAL_LIMIT_BYTES);
    let sqlite = options.open().await.unwrap();
    let create = "CREATE TABLE IF NOT EXISTS filler (id INTEGER PRIMARY KEY, bytes BLOB)";
    sqlite.write(move |db| Ok(db.execute(create, [])?)).await.unwrap();
    sqlite
}

async fn write_without_a_pause(sqlite: Sqlite, row: i64, written: Arc<Semaphore>) {
    for _ in 0..WRITES {
        let put = "INSERT OR REPLACE INTO filler VALUES (?1, randomblob(?2))";
        let write = sqlite.write(move |db| Ok(db.execute(put, [row, WRITE_BYTES])?));
        write.await.unwrap();
        written.add_permits(1);
    }
}

/// Reads again and again, each time until the writers have gone on for a while, and with so many
/// writes between two reads.
async fn read_on_and_on(sqlite: Sqlite, written: Arc<Semaphore>, writes_between: u32) {
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
        let Ok(some) = written.acquire_many(writes_between).await else { return };
        some.forget();
    }
}

/// The largest size that the log had while `reader` read and the writers wrote.
async fn largest_log(place: &Place, writer: Sqlite, reader: Sqlite, writes_between: u32) -> u64 {
    let written = Arc::new(Semaphore::new(0));
    let reader = tokio::spawn(read_on_and_on(reader, written.clone(), writes_between));
    let mut writers = JoinSet::new();
    for row in 0..WRITERS {
        writers.spawn(write_without_a_pause(writer.clone(), row, written.clone()));
    }
    within(writers.join_all()).await;
    written.close();
    within(reader).await.unwrap();
    // The file keeps the largest size that the log ever had.
    std::fs::metadata(place.path().with_extension("db-wal")).unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_there_all_the_time_does_not_keep_the_log_from_beginning_anew() {
    let place = Place::new();
    let sqlite = open(&place).await;
    let bytes_max = largest_log(&place, sqlite.clone(), sqlite, 0).await;
    assert!((WAL_LIMIT_BYTES..LOG_BYTES_MAX).contains(&bytes_max), "{bytes_max}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_in_another_process_keeps_the_log_from_beginning_anew_only_while_it_reads() {
    let place = Place::new();
    let (sqlite, other) = (open(&place).await, open(&place).await);
    let bytes_max = largest_log(&place, sqlite, other, 4 * WRITES_BESIDE_A_READ).await;
    let expected = WAL_LIMIT_BYTES..LOG_BYTES_MAX_BESIDE_ANOTHER_PROCESS;
    assert!(expected.contains(&bytes_max), "{bytes_max}");
}
