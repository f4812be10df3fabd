//! Tests that run as processes of their own, on file systems and with limits of their own.

use crate::kit::Place;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where the child finds its folder; only set for the child.
pub(crate) const CHILD_FOLDER: &str = "TRAMLINE_TEST_FOLDER";

/// What no test may pass over: all of it with `--require all`.
const REQUIRE: &str = "TRAMLINE_REQUIRE";

/// Runs the test `child` as a process after `prepare`, lines for a shell.
pub(crate) fn run(prepare: &str, child: &str, place: &Place) -> Output {
    start(Command::new("sh"), prepare, child, place)
}

/// The same for one that may mount. `None`, and told, where the machine does not let it.
///
/// # Panics
/// … and `cargo xtask test --require all` runs it.
pub(crate) fn run_with_mounts(prepare: &str, child: &str, place: &Place) -> Option<Output> {
    let Some(how) = WAYS.iter().find(|how| may_mount(how, &folder(place))) else {
        let why = "not shown here: this machine lets no test mount a file system of its own";
        let is_required = std::env::var(REQUIRE).is_ok_and(|what| what == "all");
        assert!(!is_required, "{why}, and {REQUIRE} forbids to pass it over");
        let _ = writeln!(std::io::stderr(), "{why}");
        return None;
    };
    let mut command = Command::new("unshare");
    command.args(*how).arg("sh");
    Some(start(command, prepare, child, place))
}

pub(crate) fn assert_passed(output: Output) {
    let Output { status, stdout, stderr } = output;
    let [told, faults] = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(status.success() && told.contains("1 passed"), "{told}\n{faults}");
}

/// As root, and as somebody who is root for himself alone.
const WAYS: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];

fn may_mount(how: &[&str], folder: &Path) -> bool {
    let mut command = Command::new("unshare");
    command.args(how).args(["mount", "-t", "tmpfs", "none"]).arg(folder);
    command.output().is_ok_and(|output| output.status.success())
}

fn start(mut shell: Command, prepare: &str, child: &str, place: &Place) -> Output {
    let script = format!("{prepare}\nexec \"$@\"");
    shell.args(["-ec", &script, "sh"]).arg(std::env::current_exe().unwrap());
    shell.args(["--exact", child, "--nocapture"]);
    shell.env(CHILD_FOLDER, folder(place)).current_dir(folder(place)).output().unwrap()
}

fn folder(place: &Place) -> PathBuf {
    place.path().parent().unwrap().to_owned()
}
