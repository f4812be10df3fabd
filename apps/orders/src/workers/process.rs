//! One worker process, as its parent sees it.

use super::words::{DRAIN, READY};
use crate::trouble::Trouble;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// How to start a worker.
#[derive(Clone, Debug)]
pub(crate) struct WorkerCommand {
    program: PathBuf,
    arguments: Vec<OsString>,
}

/// How long a worker may take until it is ready.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How long one may take to drain before it is killed.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

impl WorkerCommand {
    /// This very program as a worker on `broker` and `database`.
    ///
    /// # Errors
    /// The program's own file is not known.
    pub(crate) fn new(broker: &str, database: &str) -> io::Result<Self> {
        let arguments = ["--worker", "--broker", broker, "--database", database];
        let program = std::env::current_exe()?;
        Ok(Self { program, arguments: arguments.map(OsString::from).to_vec() })
    }

    /// A shell that runs `script` in a worker's place.
    #[cfg(test)]
    pub(super) fn of_shell(script: &str) -> Self {
        Self { program: "sh".into(), arguments: ["-c", script].map(OsString::from).to_vec() }
    }
}

/// A process that was started. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct WorkerProcess {
    child: Child,
    /// Held open: when it closes, the worker ends.
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl WorkerProcess {
    pub(super) fn start(command: &WorkerCommand) -> io::Result<Self> {
        let mut child = Command::new(&command.program)
            .args(&command.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.ok_or_else(|| io::Error::other("the worker has no pipes"))?;
        Ok(Self { child, input, output: BufReader::new(output).lines() })
    }

    /// Waits until it is ready. An error says how it ended instead.
    pub(super) async fn ready(&mut self) -> Result<(), String> {
        match tokio::time::timeout(READY_LIMIT, self.output.next_line()).await {
            Ok(Ok(Some(line))) if line == READY => Ok(()),
            Ok(Ok(Some(line))) => Err(format!("it said {line:?} instead of {READY:?}")),
            Ok(Ok(None)) => Err(match self.child.wait().await {
                Ok(status) => format!("it ended with {status}"),
                Err(error) => format!("it ended, and {error}"),
            }),
            Ok(Err(error)) => Err(format!("it cannot be heard: {error}")),
            Err(_late) => Err(format!("it was not ready after {} s", READY_LIMIT.as_secs())),
        }
    }

    /// Waits until it has ended. Cancel-safe.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Whether it has ended, and said that another start cannot help. Asked once it is heard no
    /// more.
    pub(super) fn has_failed_permanently(&mut self) -> bool {
        let ended = self.child.try_wait().ok().flatten();
        ended.and_then(|status| status.code()) == Some(Trouble::PERMANENT.into())
    }

    /// SIGKILL: the process does nothing more. Answers which one it was, once it is gone.
    pub(super) async fn kill(mut self) -> io::Result<u32> {
        let process = self.child.id().unwrap_or_default();
        self.child.kill().await?;
        Ok(process)
    }

    /// Has it finish what it is doing. One that takes too long is killed.
    pub(super) async fn drain(mut self) -> io::Result<()> {
        // One that has ended does not listen, and that is as well.
        let _ = self.input.write_all(format!("{DRAIN}\n").as_bytes()).await;
        match tokio::time::timeout(DRAIN_LIMIT, self.child.wait()).await {
            Ok(ended) => ended.map(|_| ()),
            Err(_late) => self.child.kill().await,
        }
    }
}
