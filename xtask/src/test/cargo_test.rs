//! `cargo test`, its output passed on as it comes and its results counted.

use super::outcome::{Counts, Outcome};
use crate::process_tree;
use crate::workspace::Workspace;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How long building and running all tests may take, on a slow machine with nothing built.
const LIMIT: Duration = Duration::from_secs(45 * 60);

/// Runs every test of the workspace, those after a failure too.
pub(crate) fn run(workspace: &Workspace) -> Outcome {
    let mut command = workspace.cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    outcome(command, LIMIT)
}

/// Runs the tests of what is only there with the feature `sqlx`.
pub(crate) fn run_sqlx(workspace: &Workspace) -> Outcome {
    let mut command = workspace.cargo();
    command.args(["test", "--package", "tramline", "--features", "sqlx", "--test", "sqlx"]);
    outcome(command, LIMIT)
}

/// Runs the seeds of the fuzz targets, which need no libFuzzer for that.
pub(crate) fn run_fuzz(workspace: &Workspace) -> Outcome {
    let mut command = workspace.fuzz_cargo();
    command.args(["test", "--locked", "--no-default-features", "--lib"]);
    outcome(command, LIMIT)
}

fn outcome(mut command: Command, limit: Duration) -> Outcome {
    let mut counts = Counts::default();
    let tests = command.stdout(Stdio::piped()).spawn();
    let failure = match tests {
        Err(error) => Some(format!("failed to start `cargo test`: {error}")),
        Ok(tests) => {
            watch(tests, limit, &mut counts).map_or_else(Some, |status| failure(status, counts))
        }
    };
    Outcome::of_tests(counts, failure)
}

/// Passes on and counts what the tests print, and kills them when the time is over.
fn watch(mut tests: Child, limit: Duration, counts: &mut Counts) -> Result<ExitStatus, String> {
    let cargo = tests.id();
    let (ended, end) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        let out_of_time = end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        if out_of_time {
            process_tree::kill_all(cargo);
        }
        out_of_time
    });
    let counted = count(&mut tests, counts);
    let status = tests.wait();
    drop(ended);
    if watchdog.join().unwrap_or(false) {
        let seconds = limit.as_secs();
        return Err(format!("killed after {seconds} s; a test above has not ended"));
    }
    counted?;
    status.map_err(|error| format!("failed to wait for `cargo test`: {error}"))
}

fn count(tests: &mut Child, counts: &mut Counts) -> Result<(), String> {
    let mut output = BufReader::new(tests.stdout.take().ok_or("`cargo test` has no output")?);
    let mut line = Vec::new();
    while read_line(&mut output, &mut line)? {
        let text = String::from_utf8_lossy(&line);
        *counts += counted(&text).unwrap_or_default();
        if !is_success(&text) {
            print!("{text}");
        }
    }
    Ok(())
}

/// Reads the next line into `line`; false at the end. A test may print what is not UTF-8.
fn read_line(output: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool, String> {
    line.clear();
    let read = output.read_until(b'\n', line);
    read.map(|length| length > 0)
        .map_err(|error| format!("failed to read the output of `cargo test`: {error}"))
}

/// What to tell about a run as a whole, if it was not sound.
fn failure(status: ExitStatus, counts: Counts) -> Option<String> {
    match (status.success(), counts.failed) {
        (true, 0) if counts.passed == 0 => Some("`cargo test` ran no test at all".to_owned()),
        (true, 0) => None,
        (_, 0) => Some("`cargo test` did not build or did not end; see above".to_owned()),
        (_, 1) => Some("1 test failed; its output is above".to_owned()),
        (_, failed) => Some(format!("{failed} tests failed; their output is above")),
    }
}

/// The counts of a line like `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; …`.
fn counted(line: &str) -> Option<Counts> {
    let (_, results) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |what: &str| {
        results.split(';').find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok())
    };
    Some(Counts { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")? })
}

/// Whether a line only says that a test passed, which is not worth a line among thousands.
fn is_success(line: &str) -> bool {
    line.starts_with("test ") && line.trim_end().ends_with(" ... ok")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_line_is_counted_with_ignored_tests_as_skipped() {
        let line = "test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out";
        assert_eq!(counted(line), Some(Counts { passed: 5, failed: 2, skipped: 1 }));
    }

    #[test]
    fn other_lines_count_for_nothing() {
        assert_eq!(counted("running 5 tests"), None);
        assert_eq!(counted("test wire::test_result ... ok"), None);
        assert_eq!(counted("test result: unreadable"), None);
    }

    #[test]
    fn only_the_lines_of_passed_tests_are_left_out() {
        assert!(is_success("test wire::keeps_the_key ... ok\n"));
        assert!(!is_success("test wire::keeps_the_key ... FAILED\n"));
        assert!(!is_success("test result: ok. 5 passed; 0 failed; 0 ignored\n"));
    }

    #[test]
    fn a_line_that_is_not_utf8_does_not_end_the_count() {
        let mut output: &[u8] = b"\xff\xfe\ntest result: ok. 5 passed; 0 failed; 0 ignored\n";
        let mut line = Vec::new();
        assert!(read_line(&mut output, &mut line).unwrap());
        assert!(read_line(&mut output, &mut line).unwrap());
        assert_eq!(counted(&String::from_utf8_lossy(&line)).unwrap().passed, 5);
        assert!(!read_line(&mut output, &mut line).unwrap());
    }

    #[test]
    fn a_run_that_fails_without_a_failed_test_is_told() {
        use std::os::unix::process::ExitStatusExt;
        let (sound, broken) = (ExitStatus::from_raw(0), ExitStatus::from_raw(101 << 8));
        let counts = |passed, failed| Counts { passed, failed, skipped: 0 };
        assert_eq!(failure(sound, counts(5, 0)), None);
        assert!(failure(broken, counts(5, 0)).unwrap().contains("did not build"));
        assert!(failure(broken, counts(5, 2)).unwrap().contains("2 tests failed"));
        assert!(failure(sound, counts(0, 0)).unwrap().contains("no test at all"));
    }
    #[test]
    fn tests_that_do_not_end_are_killed_and_those_before_them_are_counted() {
        let mut command = Command::new("sh");
        let script = "echo 'test result: ok. 5 passed; 0 failed; 0 ignored'; sleep 60 & wait";
        command.args(["-c", script]);
        let outcome = outcome(command, Duration::from_secs(1));
        assert_eq!(outcome.tests, Some(Counts { passed: 5, failed: 0, skipped: 0 }));
        assert!(outcome.detail.contains("killed after 1 s"), "{}", outcome.detail);
    }
}
