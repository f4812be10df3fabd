//! SIGKILL for groups and for many processes at once.

use std::process::{Command, Stdio};

/// Kills each target: a process by its id, a process group by `-` and its id. The shell does it,
/// because the standard library signals only its own children; false when there is no shell.
pub(crate) fn kill(targets: impl IntoIterator<Item = String>) -> bool {
    // A target that has ended in between cannot be signalled, and need not be.
    let script = ["-c", "kill -9 \"$@\"", "sh"];
    Command::new("sh").args(script).args(targets).stderr(Stdio::null()).status().is_ok()
}
