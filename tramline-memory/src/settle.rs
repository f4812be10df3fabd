//! What each settlement makes of a leased row.

use crate::state::{Claim, State};
use tramline_core::clock::Clock;
use tramline_core::settlement::{Settled, Settlement};

impl State {
    /// Carries `how` out, if the row is still leased under the claim's token.
    pub(crate) fn settle(&mut self, claim: &Claim, how: Settlement, clock: &dyn Clock) -> Settled {
        let Some((queue, rings)) = self.queue_of(claim) else { return Settled::LeaseLost };
        let Some(row) = queue.leased(claim.row, claim.token) else { return Settled::LeaseLost };
        match how {
            Settlement::Ack => queue.complete(claim.row, || clock.now(), rings),
            Settlement::Return => {
                row.give_back();
                queue.put_back(claim.row, None, rings);
            }
            Settlement::Retry { after, failures, notes, marks } => {
                let now = clock.now();
                let due = now.after(after);
                row.record.charge(failures, notes);
                row.record.mark(marks);
                (row.since, row.deliveries) = (due, 0);
                queue.put_back(claim.row, Some(due).filter(|due| *due > now), rings);
            }
            Settlement::DeadLetter { reason, failures, notes } => {
                row.record.charge(failures, notes);
                self.bury(claim.queue, claim.row, reason, clock.now());
            }
        }
        Settled::Done
    }

    /// Counts a trial, if the row is still leased under the claim's token. Answers whether it is.
    pub(crate) fn mark_trial(&mut self, claim: &Claim) -> Settled {
        let queue = self.queue_of(claim);
        match queue.and_then(|(queue, _)| queue.leased(claim.row, claim.token)) {
            Some(row) => {
                row.count_trial();
                Settled::Done
            }
            None => Settled::LeaseLost,
        }
    }
}
