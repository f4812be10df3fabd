//! Messages that were let go of without a settlement. Nobody waits for them, and none is
//! forgotten: what is dropped cannot wait for room in the writer's channel.

use super::settle::give_back;
use crate::open::core::{Core, Shared};
use crate::writer::{Ending, Job, Work};
use parking_lot::Mutex;
use tramline_core::Result;

/// What waits to be given back: token and place of each message. Never more than what all
/// receivers hold together.
#[derive(Default)]
pub(crate) struct Returned(Mutex<Vec<(i64, i64)>>);

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
    pub(crate) fn take_returned(&self) -> Option<Box<dyn Job>> {
        let returned = std::mem::take(&mut *self.returned.0.lock());
        if returned.is_empty() { None } else { Some(Box::new(GiveBack(returned))) }
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

struct GiveBack(Vec<(i64, i64)>);

impl Job for GiveBack {
    fn is_durable(&self) -> bool {
        false
    }

    fn rows(&self) -> usize {
        self.0.len()
    }

    fn is_wanted(&self) -> bool {
        true
    }

    fn run(&mut self, work: &Work<'_>) -> Result<()> {
        self.0.iter().try_for_each(|(token, seq)| give_back(work, *token, *seq).map(|_| ()))
    }

    fn finish(self: Box<Self>, ending: Ending) {
        if let Ending::Failed(error) | Ending::Unknown(error) = ending {
            // They stay leased until this process ends or enters the file anew.
            tracing::error!(%error, messages = self.0.len(), "failed to give messages back");
        }
    }
}
