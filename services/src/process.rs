//! A server's process: started so that it outlives us, found again, signalled and awaited.

use crate::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
pub(crate) use rustix::process::Signal;
use rustix::process::{Pid, PidfdFlags, kill_process_group, pidfd_open, pidfd_send_signal};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How much of a log is shown.
const LINES_SHOWN: usize = 20;
const ERRORS_SHOWN: usize = 12;

/// How long the system may take to end a killed process.
const END_LIMIT: Duration = Duration::from_secs(10);

/// A process that was running when it was found. Held by a file descriptor, so that no signal can
/// reach a later process with the same id.
pub(crate) struct Process {
    id: u32,
    handle: OwnedFd,
}

impl Process {
    /// The process whose id is in the first line of `pid_file`, if it runs and one of its arguments lies in `folder`.
    /// After a crash another program may have got the id.
    pub(crate) fn find(pid_file: &Path, folder: &Path) -> Option<Self> {
        let id = std::fs::read_to_string(pid_file).ok()?.lines().next()?.trim().parse().ok()?;
        let (process, arguments) = Self::with_arguments(id)?;
        if arguments.is_empty() {
            // It is about to end, but its ports are only free when it has.
            process.ends_within(END_LIMIT);
            return None;
        }
        names(&arguments, folder).then_some(process)
    }

    /// Every process whose command line, its arguments with zeros between them, is as asked.
    pub(crate) fn every(is_asked: impl Fn(&[u8]) -> bool) -> Vec<Self> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let found = ids.filter_map(Self::with_arguments);
        found.filter(|(_, arguments)| is_asked(arguments)).map(|(process, _)| process).collect()
    }

    /// The process with this id and its command line, which is empty once it is about to end.
    fn with_arguments(id: u32) -> Option<(Self, Vec<u8>)> {
        let handle = pidfd_open(Pid::from_raw(id.try_into().ok()?)?, PidfdFlags::empty()).ok()?;
        // Read after the handle was opened: what is read is then about the same process.
        let arguments = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
        Some((Self { id, handle }, arguments))
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)?;
        let ended = self.ends_within(END_LIMIT);
        let hangs = || Error::failed(format!("process {} has not ended after SIGKILL", self.id));
        ended.then_some(()).ok_or_else(hangs)
    }

    /// Asks it to end by this signal, and kills one that has not ended in time.
    pub(crate) fn stop(&self, signal: Signal, limit: Duration) -> Result<()> {
        self.signal(signal)?;
        if self.ends_within(limit) { Ok(()) } else { self.kill() }
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match pidfd_send_signal(&self.handle, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => {
                Err(Error::failed(format!("failed to signal process {}: {error}", self.id)))
            }
        }
    }

    fn ends_within(&self, limit: Duration) -> bool {
        let limit = Timespec { tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: 0 };
        let mut watched = [PollFd::new(&self.handle, PollFlags::IN)];
        poll(&mut watched, Some(&limit)).is_ok_and(|ended| ended > 0)
    }
}

/// Starts a program in a process group of its own, away from the terminal's Ctrl-C, with a new log.
pub(crate) fn start(mut command: Command, log: &Path) -> Result<Child> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |error| Error::failed(format!("failed to start {program}: {error}"));
    let out = File::create(log).map_err(failed)?;
    let err = out.try_clone().map_err(failed)?;
    command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
    command.spawn().map_err(failed)
}

/// Kills a started program that did not become what it should, with all of its process group.
pub(crate) fn abandon(mut started: Child) {
    if let Some(group) = started.id().try_into().ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        kill_process_group(group, Signal::KILL).ok();
    }
    started.wait().ok();
}

/// Leaves a started program to itself; who lives longer than it gathers its exit code.
pub(crate) fn release(mut started: Child) {
    std::thread::spawn(move || started.wait());
}

/// A command that is killed when the limit is over; to be run by [`output`].
pub(crate) fn bounded(program: impl AsRef<OsStr>, limit: Duration) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", &limit.as_secs().to_string()]).arg(program);
    command.stdin(Stdio::null());
    command
}

/// Runs a [`bounded`] command to its end and returns what it has printed.
pub(crate) fn output(mut command: Command) -> Result<String> {
    let words: Vec<_> = command.get_args().skip(1).map(OsStr::to_string_lossy).collect();
    let (limit, line) = (words[0].clone().into_owned(), words[1..].join(" "));
    let output = command
        .output()
        .map_err(|error| Error::failed(format!("failed to start `{line}`: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let how = match output.status.code() {
        Some(124 | 137) => format!("was killed after {limit} s"),
        _ => format!("ended with {}", output.status),
    };
    let said = [output.stdout, output.stderr].concat();
    let said = last_lines(&String::from_utf8_lossy(&said));
    Err(Error::failed(format!("`{line}` {how}\n{said}")))
}

/// What a log says about a failure: the first errors, which are the cause of those after them, or
/// else its end.
pub(crate) fn told_by(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let errors: Vec<&str> = text.lines().filter(|line| is_error(line)).collect();
    let told = match errors.get(..ERRORS_SHOWN).unwrap_or(&errors) {
        [] => last_lines(&text),
        errors => quoted(errors),
    };
    format!("{}:\n{told}", log.display())
}

fn is_error(line: &str) -> bool {
    ["error", "fatal", "panic"].iter().any(|word| line.to_ascii_lowercase().contains(word))
}

/// The end of a log.
pub(crate) fn end_of(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    last_lines(&String::from_utf8_lossy(&bytes))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    quoted(&lines[lines.len().saturating_sub(LINES_SHOWN)..])
}

fn quoted(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("    | {line}\n")).collect()
}

/// Whether an argument of a command line, with zeros between them, is a path in `folder`.
fn names(arguments: &[u8], folder: &Path) -> bool {
    let folder = folder.as_os_str().as_bytes();
    let inside = |path: &[u8]| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with(b"/"));
    arguments.split(|byte| *byte == 0).any(inside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::time::Instant;

    /// A program that runs until it is killed, with its id in a file and that among its arguments.
    fn sleeping(folder: &Path) -> (Child, PathBuf) {
        let pid_file = folder.join("pid");
        let mut command = Command::new("sh");
        let script = "trap : TERM; echo $$ > \"$1\"; while :; do sleep 60 & wait; done";
        command.args(["-c", script, "sh"]).arg(&pid_file);
        let child = start(command, &folder.join("log")).unwrap();
        let deadline = Instant::now() + END_LIMIT;
        while Process::find(&pid_file, folder).is_none() {
            assert!(Instant::now() < deadline, "{} has not begun", child.id());
            std::thread::yield_now();
        }
        (child, pid_file)
    }

    /// What was started is gone when a test fails too.
    struct Group(Option<Child>);

    impl Drop for Group {
        fn drop(&mut self) {
            if let Some(child) = self.0.take() {
                abandon(child);
            }
        }
    }

    #[test]
    fn a_process_is_found_by_its_id_and_folder_until_it_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let (child, pid_file) = sleeping(folder.path());
        let _group = Group(Some(child));
        let found = Process::find(&pid_file, folder.path()).expect("it runs");
        let every = || Process::every(|arguments| names(arguments, folder.path()));
        assert!(every().iter().any(|process| process.id() == found.id()));
        found.kill().unwrap();
        assert!(every().iter().all(|process| process.id() != found.id()));
        // Its parent, this test, has not awaited it: it is a zombie.
        assert!(Process::find(&pid_file, folder.path()).is_none());
        found.kill().unwrap();
    }

    #[test]
    fn a_process_that_does_not_heed_sigterm_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let (child, pid_file) = sleeping(folder.path());
        let _group = Group(Some(child));
        let found = Process::find(&pid_file, folder.path()).expect("it runs");
        found.stop(Signal::TERM, Duration::from_secs(1)).unwrap();
        assert!(Process::find(&pid_file, folder.path()).is_none());
    }

    #[test]
    fn a_later_process_with_the_same_id_is_not_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("pid");
        std::fs::write(&pid_file, std::process::id().to_string()).unwrap();
        assert!(Process::find(&pid_file, folder.path()).is_none());
    }

    #[test]
    fn only_an_argument_inside_of_the_folder_names_it() {
        let names = |arguments: &str| names(arguments.as_bytes(), Path::new("target/rabbitmq"));
        assert!(names("beam\0-home\0target/rabbitmq/home\0"));
        assert!(!names("beam\0-home\0target/rabbitmq-cluster/1/home\0"));
        assert!(!names("less\0see target/rabbitmq/log\0"));
    }

    #[test]
    fn a_log_tells_its_first_errors_or_else_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let told = |text: String| {
            std::fs::write(&log, text).unwrap();
            told_by(&log)
        };
        let crash = (1..50).map(|number| format!("[error] {number}\nthe reason of it\n"));
        let crash = told(crash.collect());
        assert!(crash.contains("| [error] 1\n") && !crash.contains("reason"), "{crash}");
        assert_eq!(crash.lines().count(), 1 + ERRORS_SHOWN);
        let calm = told((1..50).map(|number| format!("[info] {number}\n")).collect());
        assert!(calm.contains("| [info] 49\n") && !calm.contains("[info] 29\n"), "{calm}");
    }

    #[test]
    fn a_command_that_fails_or_does_not_end_says_so_with_its_last_words() {
        let run = |script: &str, seconds| {
            let mut command = bounded("sh", Duration::from_secs(seconds));
            command.args(["-c", script]);
            output(command).map_err(|error| error.to_string())
        };
        assert_eq!(run("echo fine", 10), Ok("fine\n".to_owned()));
        let failed = run("echo the reason >&2; exit 3", 10).unwrap_err();
        assert!(failed.contains("exit status: 3") && failed.contains("| the reason"), "{failed}");
        let killed = run("sleep 60", 1).unwrap_err();
        assert!(killed.contains("`sh -c sleep 60` was killed after 1 s"), "{killed}");
    }
}
