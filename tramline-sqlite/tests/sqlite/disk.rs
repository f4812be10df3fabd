//! Disks that are full, and disks that fail in the middle of a commit.

use crate::children::{CHILD_FOLDER, assert_passed, run, run_with_mounts};
use crate::kit::{PATIENCE, Place, declare, id, message, next, receiver, within};
use bytes::Bytes;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tramline_core::clock::{Clock, Deadline, SystemClock};
use tramline_core::settlement::{Settled, Settlement};
use tramline_core::transport::{Delivery, Sender, Sent, Transport};
use tramline_core::{ErrorKind, Failure};
use tramline_sqlite::rusqlite::Connection;
use tramline_sqlite::{Db, Sqlite};

/// Far more than there is room for, and far less than a group may hold in memory.
const LARGE_BYTES: usize = 2 * 1024 * 1024;
/// Room for what is small.
const ROOM_BYTES: u64 = 512 * 1024;

/// The folder of a test that runs as a child; `None` where it is run by itself.
fn child_folder() -> Option<PathBuf> {
    std::env::var_os(CHILD_FOLDER).map(PathBuf::from)
}

async fn open(folder: &Path) -> Sqlite {
    let sqlite = Sqlite::options(folder.join("bus.db")).isolated().open().await.unwrap();
    declare(&sqlite).await;
    sqlite
}

async fn send(sqlite: &Sqlite, id: &str, bytes: usize) -> Sent {
    let mut outgoing = message(id);
    Arc::get_mut(&mut outgoing.envelope).unwrap().body = Bytes::from(vec![b'x'; bytes]);
    let deadline = Deadline::after(SystemClock.now(), PATIENCE);
    sqlite.sender().await.unwrap().send(&[outgoing], deadline).await.remove(0)
}

/// Sends a small one, a large one and a small one in one group. Answers what the file says.
async fn send_three(sqlite: &Sqlite, ids: [&str; 3]) -> [Sent; 3] {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = parking_lot::Mutex::new(held);
    let (holds, is_held) = tokio::sync::oneshot::channel();
    let holds = parking_lot::Mutex::new(Some(holds));
    let hold = move |_: &Db<'_>| {
        holds.lock().take().map(|holds| holds.send(()));
        let _ = held.lock().recv();
        Ok::<_, Failure>(())
    };
    let holder = tokio::spawn({
        let sqlite = sqlite.clone();
        async move { sqlite.write(hold).await }
    });
    is_held.await.unwrap();
    // All three wait for the writer when it is released.
    let [first, large, last] = ids;
    let sends = async {
        tokio::join!(
            send(sqlite, first, 9),
            send(sqlite, large, LARGE_BYTES),
            send(sqlite, last, 9)
        )
    };
    let release = async { drop(release) };
    let ((first, large, last), ()) = within(async { tokio::join!(sends, release) }).await;
    holder.await.unwrap().unwrap();
    [first, large, last]
}

fn is_accepted(sent: &Sent) -> bool {
    matches!(sent, Sent::Accepted { .. })
}

/// Takes and acks everything that is in the queue, up to the message `end`, which is sent now.
async fn take_all(sqlite: &Sqlite) -> BTreeSet<String> {
    assert!(is_accepted(&send(sqlite, "end", 9).await), "there is room again");
    let mut consumer = receiver(sqlite, 10).await;
    let mut ids = BTreeSet::new();
    loop {
        let delivery = next(&mut consumer).await;
        let id = id(&delivery);
        assert_eq!(delivery.settle(Settlement::Ack).await.unwrap(), Settled::Done);
        if id == "end" {
            return ids;
        }
        assert!(ids.insert(id.clone()), "{id} came twice");
    }
}

fn assert_sound(folder: &Path) {
    let connection = Connection::open(folder.join("bus.db")).unwrap();
    let check = connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
    assert_eq!(check.unwrap(), "ok");
}

fn ids<const N: usize>(ids: [&str; N]) -> BTreeSet<String> {
    ids.map(str::to_owned).into()
}

/// Not a test by itself: what the test below starts on a small disk.
#[tokio::test]
async fn on_a_small_disk() {
    let Some(folder) = child_folder() else { return };
    let sqlite = open(&folder).await;
    assert!(is_accepted(&send(&sqlite, "before", 9).await));
    let ballast = folder.join("ballast");
    fill(&ballast);
    let file = File::options().write(true).open(&ballast).unwrap();
    file.set_len(file.metadata().unwrap().len() - ROOM_BYTES).unwrap();
    let [first, large, last] = send_three(&sqlite, ["first", "large", "last"]).await;
    assert!(is_accepted(&first) && is_accepted(&last), "{first:?} {last:?}");
    match large {
        Sent::Refused(error) => {
            assert_eq!(error.kind(), ErrorKind::Full);
            assert!(error.to_string().contains("bus.db"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    fill(&ballast);
    match send(&sqlite, "none", LARGE_BYTES).await {
        Sent::Refused(error) => assert_eq!(error.kind(), ErrorKind::Full),
        other => panic!("{other:?}"),
    }
    fs::remove_file(&ballast).unwrap();
    assert_eq!(take_all(&sqlite).await, ids(["before", "first", "last"]));
    drop(sqlite);
    assert_sound(&folder);
}

/// Writes until the disk takes no more.
fn fill(ballast: &Path) {
    let mut file = File::options().create(true).append(true).open(ballast).unwrap();
    for block in [vec![0; 64 * 1024], vec![0; 4096]] {
        while file.write_all(&block).is_ok() {}
    }
}

#[test]
fn a_full_disk_refuses_what_has_no_room_and_nothing_else_and_is_over_when_there_is_room() {
    let place = Place::new();
    let mount = "mount -t tmpfs -o size=12m none \"$TRAMLINE_TEST_FOLDER\"";
    if let Some(output) = run_with_mounts(mount, "disk::on_a_small_disk", &place) {
        assert_passed(output);
    }
}

/// Lets this process write to the first bytes of files only, so many, or to all again.
fn limit_writes(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum }).unwrap();
}

fn log_bytes(folder: &Path) -> u64 {
    fs::metadata(folder.join("bus.db-wal")).unwrap().len()
}

/// Not a test by itself: what the test below starts with the signal for it ignored.
#[tokio::test]
async fn on_a_disk_that_fails() {
    let Some(folder) = child_folder() else { return };
    let sqlite = open(&folder).await;
    assert!(is_accepted(&send(&sqlite, "before", 9).await));
    limit_writes(Some(log_bytes(&folder) + ROOM_BYTES));
    let [first, large, last] = send_three(&sqlite, ["first", "large", "last"]).await;
    assert!(is_accepted(&first) && is_accepted(&last), "{first:?} {last:?}");
    match large {
        Sent::Unknown(error) => {
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(error.to_string().contains("bus.db"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    let mut consumer = receiver(&sqlite, 1).await;
    let before = next(&mut consumer).await;
    limit_writes(Some(0));
    before.settle(Settlement::Ack).await.unwrap_err();
    limit_writes(None);
    // What could not be acked comes back, for its handler's effects are not in either.
    assert_eq!(id(&next(&mut consumer).await), "before");
    drop(consumer);
    let all = take_all(&sqlite).await;
    assert_eq!(&all - &ids(["large"]), ids(["before", "first", "last"]));
    drop(sqlite);
    assert_sound(&folder);
}

#[test]
fn a_commit_that_the_disk_fails_is_unknown_and_those_beside_it_are_in() {
    let place = Place::new();
    assert_passed(run("trap '' XFSZ", "disk::on_a_disk_that_fails", &place));
}
