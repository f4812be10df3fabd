//! How jobs reach the writer.

use super::job::{Job, Task};
use super::work::Work;
use crate::open::core::Core;
use std::fmt;
use tokio::sync::oneshot;
use tramline_core::{Error, ErrorKind, Result};

/// How many jobs may wait before callers do.
pub(crate) const JOBS_WAITING_MAX: usize = 8192;

/// What the writer must know about a job before it runs.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(super) durable: bool,
    pub(super) rows: usize,
    pub(super) kept: bool,
}

impl Plan {
    /// Something new: it must be on the disk before it is answered.
    pub(crate) fn durable(rows: usize) -> Self {
        Self { durable: true, rows, kept: false }
    }

    /// Nothing that a power failure must not undo: after it, the same message comes again.
    pub(crate) fn passing(rows: usize) -> Self {
        Self { durable: false, rows, kept: false }
    }

    /// To be run even if whoever asked has gone.
    pub(crate) fn kept(mut self) -> Self {
        self.kept = true;
        self
    }
}

/// Why a job was not done.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// Nothing of it is in.
    Failed(Error),
    /// It may be in.
    Unknown(Error),
}

impl WriteError {
    /// The writer ended before it answered.
    pub(crate) fn stopped() -> Self {
        let error = Error::new(ErrorKind::Closed, "write to the file: its writer has ended");
        Self::Unknown(error)
    }

    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Failed(error) | Self::Unknown(error) => error,
        }
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) | Self::Unknown(error) => error.fmt(f),
        }
    }
}

impl Core {
    /// Runs `write` on the writer and waits for its commit.
    ///
    /// Dropped before the job's turn, the job is taken back, unless its plan says to keep it.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        plan: Plan,
        write: impl FnMut(&Work<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T, WriteError> {
        let (task, answer) = Task::new(plan, write);
        self.submit(Box::new(task)).await?;
        answer.await.unwrap_or_else(|_| Err(WriteError::stopped()))
    }

    /// Hands a job over, as soon as there is room for it.
    pub(crate) async fn submit(&self, job: Box<dyn Job>) -> Result<(), WriteError> {
        self.jobs.send(job).await.map_err(|_| WriteError::Failed(self.shared.closed()))
    }

    /// Runs `write` on the writer, from a thread outside of any runtime.
    pub(crate) fn write_blocking<T: Send + 'static>(
        jobs: &tokio::sync::mpsc::Sender<Box<dyn Job>>,
        plan: Plan,
        write: impl FnMut(&Work<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T, WriteError> {
        let (task, answer) = Task::new(plan, write);
        let answer: oneshot::Receiver<_> = match jobs.blocking_send(Box::new(task)) {
            Ok(()) => answer,
            Err(_) => return Err(WriteError::stopped()),
        };
        answer.blocking_recv().unwrap_or_else(|_| Err(WriteError::stopped()))
    }
}
