//! What the command line can do with a server of any kind.

use crate::process::Process;
use crate::{Install, Result};
use std::fmt;

/// A server, or a cluster of them, with data and ports of its own.
///
/// Everything here blocks, within limits. Nothing is stopped by dropping it: a server outlives the
/// program that started it.
pub trait Service {
    /// Sees to it that every member runs and can be used, also after [`kill`](Self::kill) and on the
    /// same data and ports. Two programs that do so at once start it once. True if any was started.
    ///
    /// # Errors
    /// [`Absent`](crate::Error::Absent) if it is not installed and cannot be or may not be;
    /// otherwise why it does not start, with the end of its log.
    fn up(&self, install: Install) -> Result<bool>;

    /// Stops every member as an operator would, or kills it when that takes too long. Its data stay.
    ///
    /// # Errors
    /// If a process cannot be signalled.
    fn down(&self) -> Result<()>;

    /// Kills the members, or this one counted from 1, at once: SIGKILL, as a crash would. True if
    /// there was anything to kill.
    ///
    /// # Errors
    /// If there is no such member or its process cannot be signalled.
    fn kill(&self, member: Option<usize>) -> Result<bool>;

    /// Kills what runs and removes all its data.
    ///
    /// # Errors
    /// If a process cannot be signalled or a file cannot be removed.
    fn wipe(&self) -> Result<()>;

    /// How every member is now.
    fn status(&self) -> Vec<Member>;

    /// Where clients find it: one URL, or those of all members with commas between them.
    fn urls(&self) -> String;
}

/// One member of a server, as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The whole name, such as `rabbitmq` or `rabbitmq-cluster/2`.
    pub name: String,
    /// Whether it runs.
    pub state: State,
    /// Its own URL.
    pub url: String,
}

/// Whether a member of a server runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State {
    /// No process.
    Stopped,
    /// The process is there but does not serve clients: not yet, or no longer.
    NotReady(Option<u32>),
    /// It serves clients; with its process id, if it is a process of this machine.
    Up(Option<u32>),
}

impl State {
    /// That of a process, if there is one.
    pub(crate) fn of(process: Option<&Process>, is_ready: impl FnOnce() -> bool) -> Self {
        match process.map(Process::id) {
            None => Self::Stopped,
            Some(id) if is_ready() => Self::Up(Some(id)),
            Some(id) => Self::NotReady(Some(id)),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, pid) = match self {
            Self::Stopped => ("stopped", &None),
            Self::NotReady(pid) => ("not ready", pid),
            Self::Up(pid) => ("up", pid),
        };
        let text = pid.map_or_else(|| word.to_owned(), |pid| format!("{word}, pid {pid}"));
        f.pad(&text)
    }
}
