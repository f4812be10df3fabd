//! A test in a process of its own.

use std::process::{Child, Command, Stdio};

/// Runs the test of this name once more, alone in another process, whose output can be read;
/// `None` in that process.
pub(crate) fn alone(test: &str) -> Option<Child> {
    const CHILD: &str = "TRAMLINE_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return None;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn();
    Some(child.unwrap())
}
