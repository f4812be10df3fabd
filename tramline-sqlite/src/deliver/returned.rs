//! Messages that were let go of without a settlement. Nobody waits for them, and none is
//! forgotten: what is dropped cannot wait for room in the writer's channel.

use super::settle::give_back;
use crate::open::core::{Core, Shared};
use crate::writer::{Ending, Job, Work};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::mpsc;
use tramline_core::Result;

/// What waits to be given back: token and place of each message. Never more than what all
/// receivers hold together.
#[derive(Default)]
pub(crate) struct Returned(Mutex<Vec<(i64, i64)>>);

impl Returned {
    /// Makes the writer try again what it could not give back.
    pub(crate) fn remind(&self, jobs: &mpsc::Sender<Box<dyn Job>>) {
        if !self.0.lock().is_empty() {
            // A full channel has a next group without a nudge.
            let _ = jobs.try_send(Box::new(Nudge));
        }
    }
}

impl Core {
    /// Puts a message back into its place. Does not wait: it happens with the writer's next group.
    pub(crate) fn give_back(&self, token: i64, seq: i64) {
        let is_first = {
            let mut returned = self.shared.returned.0.lock();
            returned.push((token, seq));
            returned.len() == 1
        };
        if is_first {
            // A full channel, too, has a next group; a closed one has a last, which returns all.
            let _ = self.jobs.try_send(Box::new(Nudge));
        }
    }
}

impl Shared {
    /// What was let go of, as a job.
    pub(crate) fn take_returned(self: &Arc<Self>) -> Option<Box<dyn Job>> {
        let pairs = std::mem::take(&mut *self.returned.0.lock());
        if pairs.is_empty() {
            return None;
        }
        Some(Box::new(GiveBack { pairs, shared: self.clone() }))
    }
}

/// Makes the writer look.
struct Nudge;

impl Job for Nudge {
    fn is_durable(&self) -> bool {
        false
    }
    fn rows(&self) -> usize {
        0
    }
    fn is_wanted(&self) -> bool {
        true
    }
    fn run(&mut self, _work: &Work<'_>) -> Result<()> {
        Ok(())
    }
    fn finish(self: Box<Self>, _ending: Ending) {}
}

/// Dropped before it has succeeded, it leaves its messages for the next try.
struct GiveBack {
    pairs: Vec<(i64, i64)>,
    shared: Arc<Shared>,
}

impl Job for GiveBack {
    fn is_durable(&self) -> bool {
        false
    }

    fn rows(&self) -> usize {
        self.pairs.len()
    }

    fn is_wanted(&self) -> bool {
        true
    }

    fn run(&mut self, work: &Work<'_>) -> Result<()> {
        self.pairs.iter().try_for_each(|(token, seq)| give_back(work, *token, *seq).map(|_| ()))
    }

    fn finish(mut self: Box<Self>, ending: Ending) {
        match ending {
            Ending::Committed => self.pairs.clear(),
            // To give back twice what is back already does nothing: its claim is gone.
            Ending::Failed(error) | Ending::Unknown(error) => {
                let messages = self.pairs.len();
                if self.shared.is_news(&error) {
                    tracing::warn!(%error, messages, "failed to give messages back, to be tried again");
                }
            }
        }
    }
}

impl Drop for GiveBack {
    fn drop(&mut self) {
        if !self.pairs.is_empty() {
            self.shared.returned.0.lock().append(&mut self.pairs);
        }
    }
}
