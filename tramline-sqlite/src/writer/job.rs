//! One thing to write.

use super::submit::WriteError;
use super::work::Work;
use tokio::sync::oneshot;
use tramline_core::{Error, Result};

/// One thing to write, with whoever waits for it.
///
/// A job may run several times: when another job of its group takes the whole transaction down,
/// the innocent ones are run again. Only [`Job::finish`] is final.
pub(crate) trait Job: Send {
    /// Whether its commit must reach the disk before it is answered.
    fn is_durable(&self) -> bool;

    /// How many rows it is about, to keep groups short.
    fn rows(&self) -> usize;

    /// Whether it is still to be run: nobody waits for it any more if not.
    fn is_wanted(&self) -> bool;

    /// Writes. On an error nothing of the job stays, and the group runs again without it.
    fn run(&mut self, work: &Work<'_>) -> Result<()>;

    /// How it ended.
    fn finish(self: Box<Self>, ending: Ending);
}

/// How a job ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// It is in.
    Committed,
    /// Nothing of it is in.
    Failed(Error),
    /// The disk failed in the middle of the commit: only the next start of the file will tell.
    Unknown(Error),
}

/// A closure as a job: its last answer goes to whoever waits.
pub(super) struct Task<T, F> {
    write: F,
    durable: bool,
    rows: usize,
    /// Runs even if nobody waits for its answer any more.
    kept: bool,
    answer: Option<T>,
    reply: oneshot::Sender<Result<T, WriteError>>,
}

impl<T, F> Task<T, F> {
    pub(super) fn new(
        plan: super::Plan,
        write: F,
    ) -> (Self, oneshot::Receiver<Result<T, WriteError>>) {
        let (reply, answer) = oneshot::channel();
        let super::Plan { durable, rows, kept } = plan;
        (Self { write, durable, rows, kept, answer: None, reply }, answer)
    }
}

impl<T, F> Job for Task<T, F>
where
    T: Send,
    F: FnMut(&Work<'_>) -> Result<T> + Send,
{
    fn is_durable(&self) -> bool {
        self.durable
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn is_wanted(&self) -> bool {
        self.kept || !self.reply.is_closed()
    }

    fn run(&mut self, work: &Work<'_>) -> Result<()> {
        self.answer = Some((self.write)(work)?);
        Ok(())
    }

    fn finish(self: Box<Self>, ending: Ending) {
        let answer = match (ending, self.answer) {
            (Ending::Committed, Some(answer)) => Ok(answer),
            (Ending::Committed, None) => Err(WriteError::stopped()),
            (Ending::Failed(error), _) => Err(WriteError::Failed(error)),
            (Ending::Unknown(error), _) => Err(WriteError::Unknown(error)),
        };
        // Whoever asked may have gone; then nobody wants the answer.
        let _ = self.reply.send(answer);
    }
}
