//! A program with a log and a time limit, whose log is shown only when it fails.

use crate::process_group::{Ended, ProcessGroup};
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LINES_SHOWN: usize = 60;

/// Runs the program to its end; anything but exit code 0 in time is an error, and then the end of
/// its log is printed.
pub(crate) fn run(command: Command, log: &Path, limit: Duration) -> Result<(), String> {
    let mut group = ProcessGroup::start(command, &create(log)?)?;
    let failure = match group.wait(limit)? {
        Ended::Exited(status) if status.success() => return Ok(()),
        Ended::Exited(status) => format!("ended with {status}"),
        Ended::OutOfTime => format!("was killed after {} s", limit.as_secs()),
    };
    let printed = if show(log) { "the end of its output is above" } else { "it printed nothing" };
    Err(format!("{failure}; {printed}"))
}

/// Creates the file that takes what a program prints.
pub(crate) fn create(log: &Path) -> Result<File, String> {
    File::create(log).map_err(|error| format!("failed to create {}: {error}", log.display()))
}

/// Prints the end of a log; false when the log is empty.
pub(crate) fn show(log: &Path) -> bool {
    let bytes = std::fs::read(log).unwrap_or_default();
    for line in last_lines(&String::from_utf8_lossy(&bytes), LINES_SHOWN) {
        println!("    | {line}");
    }
    !bytes.is_empty()
}

fn last_lines(text: &str, count: usize) -> impl Iterator<Item = &str> {
    let lines = text.lines().count();
    text.lines().skip(lines.saturating_sub(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, &folder.path().join("log"), limit)
    }

    #[test]
    fn only_exit_code_zero_in_time_is_a_success() {
        assert_eq!(shell("echo fine", Duration::from_secs(10)), Ok(()));
        let failure = shell("exit 3", Duration::from_secs(10)).unwrap_err();
        assert!(failure.contains("exit status: 3"), "{failure}");
        let late = shell("sleep 60", Duration::ZERO).unwrap_err();
        assert_eq!(late, "was killed after 0 s; it printed nothing");
    }

    #[test]
    fn only_the_end_of_a_long_log_is_shown() {
        assert_eq!(last_lines("a\nb\nc\n", 2).collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(last_lines("a\n", 2).collect::<Vec<_>>(), ["a"]);
    }
}
