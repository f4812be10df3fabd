//! Processes that work until they are killed or told to end.

use super::record::Record;
use crate::child;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long one may take to end that is told to.
const END_WITHIN: Duration = Duration::from_secs(30);

/// What every process is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Place {
    /// Where the journals are
    #[arg(long)]
    pub(crate) folder: PathBuf,
    /// The process that starts them, and without which they end
    #[arg(long)]
    driver: u32,
    /// What tells its journals from those of others
    #[arg(long)]
    pub(crate) name: String,
}

impl Place {
    pub(crate) fn end_with_the_driver(&self) -> Result<(), String> {
        child::end_with(self.driver)
    }

    pub(crate) fn record(&self) -> Record {
        Record::new(&self.folder)
    }
}

/// One process, in all of its lives.
pub(crate) struct Process {
    name: String,
    folder: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Process {
    /// One that plays the role that `arguments` begin with, behind the name of the server.
    pub(crate) fn new(record: &Record, name: &str, arguments: Vec<String>) -> Self {
        let folder = record.folder().to_owned();
        Self { name: name.to_owned(), folder, arguments, child: None }
    }

    pub(crate) fn start(&mut self) -> Result<(), String> {
        let begun = || -> io::Result<Child> {
            let log = self.folder.join(format!("{}.log", self.name));
            let log = File::options().create(true).append(true).open(log)?;
            let mut command = Command::new(std::env::current_exe()?);
            command.args(&self.arguments).arg("--folder").arg(&self.folder);
            command.args(["--driver", &std::process::id().to_string(), "--name", &self.name]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()
        };
        self.child =
            Some(begun().map_err(|error| format!("failed to start {}: {error}", self.name))?);
        Ok(())
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<(), String> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let killed = child.kill().and_then(|()| child.wait());
        killed.map(drop).map_err(|error| format!("failed to kill {}: {error}", self.name))
    }

    /// SIGSTOP.
    pub(crate) fn stop(&self) -> Result<(), String> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub(crate) fn go_on(&self) -> Result<(), String> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), String> {
        let Some(child) = &self.child else { return Ok(()) };
        // A child that is not waited for keeps its id, even when it has ended.
        let sent = kill_process(Pid::from_child(child), signal);
        sent.map_err(|error| format!("failed to signal {}: {error}", self.name))
    }

    /// Whether it has ended by itself since it was started.
    pub(crate) fn has_died(&mut self) -> Result<bool, String> {
        let Some(child) = &mut self.child else { return Ok(true) };
        let ended = child.try_wait();
        let ended = ended.map_err(|error| format!("failed to look at {}: {error}", self.name))?;
        if ended.is_some() {
            self.child = None;
        }
        Ok(ended.is_some())
    }

    /// Tells it to end by SIGTERM; it must do so in order.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        match child::end(&mut child, END_WITHIN) {
            Ok(Some(status)) if status.success() => Ok(()),
            Ok(Some(status)) => Err(format!("{} was told to end: {status}", self.name)),
            Ok(None) => {
                self.child = Some(child);
                Err(format!("{} did not end within {END_WITHIN:?}", self.name))
            }
            Err(error) => Err(format!("failed to end {}: {error}", self.name)),
        }
    }
}

/// A driver that fails leaves nobody behind.
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
