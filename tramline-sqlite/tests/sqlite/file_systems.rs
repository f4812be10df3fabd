//! Files on network file systems, and on disks that are full.

use crate::kit::Place;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use tramline_core::ErrorKind;
use tramline_sqlite::Sqlite;

/// Where the child finds its folder; only set for the child.
const CHILD_FOLDER: &str = "TRAMLINE_TEST_FOLDER";

/// Runs the test `child` of this file as a process that may mount, after `prepare`, a shell's
/// script. `None`, and told, where the machine does not let it mount.
fn run_with_mounts(prepare: &str, child: &str, place: &Place) -> Option<Output> {
    let script = format!("{prepare} && exec \"$@\"");
    let folder = place.path().parent().unwrap().to_owned();
    let Some(how) = WAYS.iter().find(|how| may_mount(how, &folder)) else {
        let why = "not shown here: this machine lets no test mount a file system of its own";
        let _ = writeln!(std::io::stderr(), "{why}");
        return None;
    };
    let mut command = Command::new("unshare");
    command.args(*how).args(["sh", "-ec", &script, "sh"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("file_systems::{child}"), "--nocapture"]);
    Some(command.env(CHILD_FOLDER, &folder).current_dir(&folder).output().unwrap())
}

/// As root, and as somebody who is root for himself alone.
const WAYS: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];

fn may_mount(how: &[&str], folder: &Path) -> bool {
    let mut command = Command::new("unshare");
    command.args(how).args(["mount", "-t", "tmpfs", "none"]).arg(folder);
    command.output().is_ok_and(|output| output.status.success())
}

fn assert_passed(output: Option<Output>) {
    let Some(Output { status, stdout, stderr }) = output else { return };
    let [told, faults] = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(status.success() && told.contains("1 passed"), "{told}\n{faults}");
}

/// Not a test by itself: what the test below starts.
#[tokio::test]
async fn on_a_network_file_system() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else { return };
    let path = Path::new(&folder).join("bus.db");
    let error = Sqlite::open(&path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    for part in ["bus.db", "network file system (nfs4)", "local disk", "on_any_file_system"] {
        assert!(error.to_string().contains(part), "{part} is not in: {error}");
    }
    assert!(!path.exists(), "it was made all the same");
    Sqlite::options(&path).on_any_file_system().open().await.unwrap();
}

#[test]
fn a_file_on_a_network_file_system_is_refused_unless_somebody_knows_better() {
    let place = Place::new();
    let forge = "echo \"9 1 0:9 / $TRAMLINE_TEST_FOLDER rw - nfs4 host:/ rw\" > mounts
         mount --bind mounts /proc/$$/mountinfo";
    assert_passed(run_with_mounts(forge, "on_a_network_file_system", &place));
}
