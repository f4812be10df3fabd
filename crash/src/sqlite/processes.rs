//! The processes of a round: started, killed, stopped and told to end.

use super::plan::Act;
use crate::child;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a process is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Producer,
    Consumer,
    /// Of the poison case.
    Taster,
}

/// One process, in all of its lives.
pub(crate) struct Process {
    role: Role,
    index: usize,
    lives: u64,
    child: Option<Child>,
    born: Instant,
    round: Round,
}

/// What all processes of a round are told.
#[derive(Clone, clap::Args)]
pub(crate) struct Round {
    /// Where the file and the journals are
    pub(crate) folder: PathBuf,
    #[arg(long)]
    pub(crate) seed: u64,
    /// Messages a second of each producer; as many as it can if not said
    #[arg(long)]
    pub(crate) rate: Option<u64>,
    /// The process that starts them, and without which they end
    #[arg(long)]
    driver: u32,
}

impl Round {
    /// A round of this process.
    pub(crate) fn new(folder: &Path, seed: u64) -> Self {
        Self { folder: folder.to_owned(), seed, rate: None, driver: std::process::id() }
    }

    /// From here on the driver's death is this process's too, also while it is stopped.
    pub(crate) fn end_with_the_driver(&self) -> Result<(), String> {
        child::end_with(self.driver)
    }
}

impl Process {
    pub(crate) fn new(role: Role, index: usize, round: Round) -> Self {
        Self { role, index, lives: 0, child: None, born: Instant::now(), round }
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn name(&self) -> String {
        format!("{:?} {}", self.role, self.index).to_lowercase()
    }

    pub(crate) fn does(&mut self, act: Act) -> Result<(), String> {
        match act {
            Act::Start => self.start(),
            Act::Kill => self.kill(),
            Act::Stop => self.signal(Signal::STOP),
            Act::Continue => self.signal(Signal::CONT),
        }
        .map_err(|error| format!("failed to {act:?} {}: {error}", self.name()).to_lowercase())
    }

    fn start(&mut self) -> io::Result<()> {
        let mut command = Command::new(std::env::current_exe()?);
        let Round { folder, seed, rate, driver } = &self.round;
        command.arg("sqlite").arg(match self.role {
            Role::Producer => "produce",
            Role::Consumer => "consume",
            Role::Taster => "taste",
        });
        command.arg(folder);
        command.args(["--seed", &seed.to_string(), "--driver", &driver.to_string()]);
        if let Some(rate) = rate {
            command.args(["--rate", &rate.to_string()]);
        }
        if self.role == Role::Producer {
            command.args([self.index.to_string(), self.lives.to_string()]);
        }
        let log = File::options().create(true).append(true).open(self.log())?;
        self.lives += 1;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        self.child = Some(child);
        self.born = Instant::now();
        Ok(())
    }

    /// When its present life began, and the id that it has in it.
    pub(crate) fn alive(&self) -> Option<(Instant, u32)> {
        Some((self.born, self.child.as_ref()?.id()))
    }

    fn log(&self) -> PathBuf {
        self.round.folder.join(format!("{}.log", self.name().replace(' ', "-")))
    }

    fn kill(&mut self) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let Some(child) = &self.child else { return Ok(()) };
        // A child that is not waited for keeps its id, even when it has ended.
        Ok(kill_process(Pid::from_child(child), signal)?)
    }

    /// Nobody may end before being told so.
    pub(crate) fn must_run(&mut self) -> Result<(), String> {
        let ended = match &mut self.child {
            Some(child) => child.try_wait(),
            None => Ok(None),
        };
        match ended {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("{} ended by itself: {status}", self.name())),
            Err(error) => Err(format!("failed to look at {}: {error}", self.name())),
        }
    }

    /// Whether it has ended by itself since it was started.
    pub(crate) fn has_died(&mut self) -> Result<bool, String> {
        let Err(_) = self.must_run() else { return Ok(false) };
        self.does(Act::Kill).map(|()| true)
    }

    /// Tells the process to end by SIGTERM; it must do so in order.
    pub(crate) fn end(&mut self, within: Duration) -> Result<(), String> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        match child::end(&mut child, within).map_err(|error| format!("failed to end: {error}"))? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("{} was told to end: {status}", self.name())),
            None => {
                self.child = Some(child);
                Err(format!("{} did not end within {within:?}", self.name()))
            }
        }
    }
}

/// A driver that fails leaves nobody behind.
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
