//! What a large backlog took of the disk is given back.

use crate::kit::{Place, until};
use tramline_sqlite::Sync;

const MIB: u64 = 1024 * 1024;
const ROWS: i64 = 64;
/// The bus keeps 16 MiB for the next backlog.
const LEFT_BYTES_MAX: u64 = 20 * MIB;

#[tokio::test]
async fn a_file_that_has_become_empty_is_short_again_though_nobody_writes() {
    let place = Place::new();
    let sqlite = place.isolated().sync(Sync::Normal).open().await.unwrap();
    let write = async |sql: &'static str| {
        sqlite.write(move |db| Ok(db.execute(sql, [])?)).await.unwrap();
    };
    write("CREATE TABLE filler (bytes BLOB)").await;
    for _ in 0..ROWS {
        write("INSERT INTO filler VALUES (randomblob(1024 * 1024))").await;
    }
    let bytes = async || {
        // The bound of the wait is looked at between the questions.
        tokio::task::yield_now().await;
        std::fs::metadata(place.path()).unwrap().len()
    };
    until(bytes, |bytes| *bytes > LEFT_BYTES_MAX).await;
    write("DELETE FROM filler").await;
    until(bytes, |bytes| *bytes <= LEFT_BYTES_MAX).await;
}
