//! A settlement on its way to the writer.

use super::held::Held;
use crate::writer::{Ending, Job, Work, WriteError};
use tokio::sync::oneshot;
use tramline_core::Result;
use tramline_core::settlement::Settled;

/// Ends a delivery. Runs even if nobody waits for it any more, because the handler has done its
/// work, and gives the message back only if it could not be settled.
pub(super) struct SettleJob<F> {
    held: Held,
    settle: F,
    durable: bool,
    settled: Option<Settled>,
    reply: oneshot::Sender<Result<Settled, WriteError>>,
}

impl<F> SettleJob<F> {
    pub(super) fn new(
        held: Held,
        durable: bool,
        settle: F,
    ) -> (Self, oneshot::Receiver<Result<Settled, WriteError>>) {
        let (reply, answer) = oneshot::channel();
        (Self { held, settle, durable, settled: None, reply }, answer)
    }
}

impl<F> Job for SettleJob<F>
where
    F: FnMut(&Work<'_>) -> Result<Settled> + Send,
{
    fn is_durable(&self) -> bool {
        self.durable
    }

    fn rows(&self) -> usize {
        1
    }

    fn is_wanted(&self) -> bool {
        true
    }

    fn run(&mut self, work: &Work<'_>) -> Result<()> {
        self.settled = Some((self.settle)(work)?);
        Ok(())
    }

    fn finish(mut self: Box<Self>, ending: Ending) {
        let answer = match (ending, self.settled) {
            (Ending::Committed, Some(settled)) => {
                self.held.settled();
                Ok(settled)
            }
            (Ending::Committed, None) => Err(WriteError::stopped()),
            (Ending::Failed(error), _) => Err(WriteError::Failed(error)),
            (Ending::Unknown(error), _) => Err(WriteError::Unknown(error)),
        };
        let Self { held, reply, .. } = *self;
        // The slot is free before the answer is there.
        drop(held);
        let _ = reply.send(answer);
    }
}
