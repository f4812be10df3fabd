//! What a full disk does to a group. Only from inside can the file be kept from growing.

use super::{Plan, Work, WriteError};
use crate::sqlite::Sqlite;
use std::sync::mpsc;
use tokio::task::JoinHandle;
use tramline_core::{Error, ErrorKind};

/// A file that may not grow by more than `pages` from now on.
async fn nearly_full(folder: &tempfile::TempDir, pages: i64) -> Sqlite {
    let sqlite = Sqlite::options(folder.path().join("bus.db")).isolated().open().await.unwrap();
    sqlite.write(|db| Ok(db.execute("CREATE TABLE kept (bytes BLOB)", [])?)).await.unwrap();
    let limit = move |work: &Work<'_>| {
        let is: i64 = work.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let limit = format!("PRAGMA max_page_count = {}", is + pages);
        work.connection.query_row(&limit, [], |_| Ok(())).unwrap();
        Ok(())
    };
    sqlite.core.write(Plan::passing(1), limit).await.unwrap();
    sqlite
}

/// Keeps the writer busy until the sender is dropped, so that what follows is one group.
async fn hold(sqlite: &Sqlite) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let (running, runs) = tokio::sync::oneshot::channel();
    let core = sqlite.core.clone();
    let mut running = Some(running);
    tokio::spawn(async move {
        let hold = move |_: &Work<'_>| {
            running.take().map(|running| running.send(()));
            let _ = held.recv();
            Ok(())
        };
        core.write(Plan::passing(1), hold).await
    });
    runs.await.unwrap();
    release
}

fn keep(sqlite: &Sqlite, bytes: usize) -> JoinHandle<Result<(), Error>> {
    let core = sqlite.core.clone();
    let keep = move |work: &Work<'_>| {
        work.connection
            .execute("INSERT INTO kept VALUES (zeroblob(?1))", [bytes as i64])
            .map(|_| ())
            .map_err(|error| crate::error::failed("keep bytes", error))
    };
    tokio::spawn(
        async move { core.write(Plan::durable(1), keep).await.map_err(WriteError::into_error) },
    )
}

#[tokio::test]
async fn what_does_not_fit_on_the_disk_fails_alone_and_the_rest_of_its_group_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = nearly_full(&folder, 20).await;
    let release = hold(&sqlite).await;
    let mut writes = Vec::new();
    for bytes in [1000, 1_000_000, 2000] {
        writes.push(keep(&sqlite, bytes));
        // On this runtime of one thread, the job is in the channel once its task has run.
        tokio::task::yield_now().await;
    }
    drop(release);
    let mut answers = Vec::new();
    for write in writes {
        answers.push(tokio::time::timeout(std::time::Duration::from_secs(20), write));
    }
    let mut kinds = Vec::new();
    for answer in answers {
        kinds.push(answer.await.unwrap().unwrap().map_err(|error| error.kind()));
    }
    assert_eq!(kinds, [Ok(()), Err(ErrorKind::Full), Ok(())]);
    let sum = sqlite
        .read(|snapshot| {
            let sql = "SELECT sum(length(bytes)) FROM kept";
            Ok(snapshot.query_row(sql, [], |row| row.get::<_, i64>(0))?)
        })
        .await
        .unwrap();
    assert_eq!(sum, 3000);
}

#[tokio::test]
async fn a_closure_on_a_full_disk_is_told_so_as_a_retryable_failure() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = nearly_full(&folder, 5).await;
    let sql = "INSERT INTO kept VALUES (zeroblob(1000000))";
    let failure = sqlite.write(move |db| Ok(db.execute(sql, [])?)).await.unwrap_err();
    assert!(!failure.is_permanent());
    let error = failure.find::<Error>().expect("an error of the store");
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(error.to_string().contains("bus.db"), "{error}");
}
