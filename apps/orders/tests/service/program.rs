//! The program, started with a data folder of its own.

use crate::processes;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// No step of a test takes longer, on a busy machine either.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// A folder for one service, which may be started in it several times.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The program on this folder's data, not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orders"));
        command.arg("--data-dir").arg(self.path("data")).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Program {
        Program::start(self.command(arguments))
    }

    /// Runs to the end and answers the report, which must reconcile.
    pub(crate) fn run(&self, arguments: &[&str]) -> Value {
        let report = self.path("report.json");
        let mut command = self.command(arguments);
        command.arg("--exit").arg("--report").arg(&report);
        let program = Program::start(command);
        let output = program.ended();
        let report = read(&report);
        assert_eq!(report["reconciled"], true, "{output:?}");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        report
    }
}

fn read(report: &Path) -> Value {
    let text = std::fs::read_to_string(report).unwrap_or_else(|error| panic!("report: {error}"));
    serde_json::from_str(&text).unwrap()
}

/// A program that runs. Dropped, it is killed.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
    errors: Receiver<Vec<u8>>,
}

impl Program {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (output, mut errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (say, lines) = channel();
        thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).all(|line| say.send(line).is_ok())
        });
        let (tell, told) = channel();
        thread::spawn(move || {
            let mut text = Vec::new();
            let read = errors.read_to_end(&mut text);
            tell.send(read.map(|_| text).unwrap_or_default())
        });
        Self { child, lines, said: Vec::new(), errors: told }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What follows `beginning` in the next line that begins so.
    pub(crate) fn line(&mut self, beginning: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no line begins with {beginning:?}: {:?}", self.said)
            };
            self.said.push(line.clone());
            if let Some(rest) = line.strip_prefix(beginning) {
                return rest.to_owned();
            }
        }
    }

    pub(crate) fn address(&mut self) -> SocketAddr {
        self.line("listening on http://").parse().unwrap()
    }

    /// The worker processes that are there now.
    pub(crate) fn workers(&self) -> Vec<u32> {
        processes::children(self.id())
    }

    pub(crate) fn signal(&self, name: &str) {
        processes::signal(name, self.id());
    }

    /// Waits for the end. What it said is in the output.
    pub(crate) fn ended(mut self) -> Output {
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.said.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(late) => panic!("{late}: {:?}", self.said),
            }
        }
        let status = self.child.wait().unwrap();
        let stderr = self.errors.recv_timeout(LIMIT).expect("a worker holds the error output open");
        Output { status, stdout: self.said.join("\n").into_bytes(), stderr }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
