//! A disk of the server that is full, in a child that may mount one.

use crate::kit::{next, prepared, receiver, send, within};
use std::io::Write;
use std::process::Command;
use tramline_core::ErrorKind;
use tramline_core::settlement::{Settled, Settlement};
use tramline_core::transport::{Delivery, Sent};
use tramline_services::postgres::Server;
use tramline_services::testing::Database;

/// Where the child finds the small disk; only set for the child.
const CHILD_DISK: &str = "TRAMLINE_TEST_DISK";
/// What no test may pass over: all of it with `--require all`.
const REQUIRE: &str = "TRAMLINE_REQUIRE";

#[test]
fn where_the_servers_disk_is_full_work_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    // The server's user has to come through.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let mount = "mount -t tmpfs -o size=2m none \"$TRAMLINE_TEST_DISK\"\n\
                 chown postgres \"$TRAMLINE_TEST_DISK\"; chmod 700 \"$TRAMLINE_TEST_DISK\"";
    let shell = |then: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", &format!("{mount}\n{then}"), "sh"]);
        command.arg(std::env::current_exe().unwrap()).env(CHILD_DISK, &disk);
        command
    };
    if !shell("").output().is_ok_and(|output| output.status.success()) {
        let why = "not shown here: only root, beside an installed PostgreSQL, mounts a disk for it";
        let is_required = std::env::var(REQUIRE).is_ok_and(|what| what == "all");
        assert!(!is_required, "{why}, and {REQUIRE} forbids to pass it over");
        writeln!(std::io::stderr(), "{why}").unwrap();
        return;
    }
    let run = "exec \"$1\" --exact full_disk::child --nocapture";
    let output = shell(run).output().unwrap();
    let [told, faults] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success() && told.contains("1 passed"), "{told}\n{faults}");
}

/// Not a test by itself: what the test above starts where a small disk is mounted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(disk) = std::env::var_os(CHILD_DISK) else { return };
    let server = Server::temporary("full", &[]).unwrap();
    let location = disk.to_str().unwrap();
    server.psql("postgres", &format!("CREATE TABLESPACE small LOCATION '{location}'")).unwrap();
    let database = Database::on(server.url().parse().unwrap());
    let postgres = prepared(&database).await;
    database.sql(
        "ALTER TABLE tramline.message SET TABLESPACE small;
         ALTER TABLE tramline.delayed SET TABLESPACE small",
    );
    assert!(send(&postgres, "before").await.is_accepted());
    let mut consumer = receiver(&postgres, 1).await;
    let before = next(&mut consumer).await;
    database.sql(
        "CREATE TABLE filler (it text) TABLESPACE small;
         DO $$ BEGIN
             LOOP INSERT INTO filler VALUES (repeat('x', 1500)); END LOOP;
         EXCEPTION WHEN disk_full THEN NULL; END $$",
    );
    // What is there of its table's pages is used first.
    let mut accepted = 0;
    let refused = loop {
        match send(&postgres, &accepted.to_string()).await {
            Sent::Accepted { .. } => accepted += 1,
            Sent::Refused(error) => break error,
            Sent::Unknown(error) => panic!("{error}"),
        }
    };
    assert_eq!(refused.kind(), ErrorKind::Full, "{refused}");
    let text = refused.to_string();
    assert!(text.contains("No space left") && text.contains("make room"), "{text}");
    assert!(text.contains(&database.url.port().unwrap().to_string()), "{text}");

    // The first of the delayed messages has no page yet.
    let (failures, marks) = (1, before.marks());
    let after = std::time::Duration::from_millis(1);
    let retry = Settlement::Retry { after, failures, notes: Vec::new(), marks };
    let mut settled = tokio::spawn(before.settle(retry));
    let log = || std::fs::read_to_string(server.log()).unwrap();
    within(async {
        while log().matches("SELECT tramline.retry").count() < 2 {
            tokio::select! {
                settled = &mut settled => panic!("{settled:?}"),
                () = tokio::time::sleep(std::time::Duration::from_millis(10)) => {}
            }
        }
    })
    .await;
    database.sql("DROP TABLE filler; CHECKPOINT");
    assert_eq!(within(settled).await.unwrap().unwrap(), Settled::Done);
    assert!(send(&postgres, "after").await.is_accepted());
    for _ in 0..accepted + 2 {
        next(&mut consumer).await.settle(Settlement::Ack).await.unwrap();
    }
    let left = database.sql("SELECT FROM tramline.message UNION ALL SELECT FROM tramline.delayed");
    assert!(left.is_empty());
}
