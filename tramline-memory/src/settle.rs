//! What each settlement makes of a leased row.

use crate::state::{Claim, State};
use tramline_core::clock::Clock;
use tramline_core::settlement::{Settled, Settlement};

impl State {
    /// Carries `how` out, if the row is still leased under the claim's token.
    pub(crate) fn settle(&mut self, claim: &Claim, how: Settlement, clock: &dyn Clock) -> Settled {
        let queue = self.queue_of(claim);
        let Some(mut row) = queue.and_then(|queue| queue.remove_leased(claim.row, claim.token))
        else {
            return Settled::LeaseLost;
        };
        match how {
            Settlement::Ack => {}
            Settlement::Return => self.put_back(claim, row, None),
            Settlement::Retry { after, failures, notes, marks } => {
                let now = clock.now();
                let due = now.after(after);
                row.record.charge(failures, notes);
                row.record.mark(marks);
                (row.since, row.deliveries) = (due, 0);
                self.put_back(claim, row, Some(due).filter(|due| *due > now));
            }
            Settlement::DeadLetter { reason, failures, notes } => {
                row.record.charge(failures, notes);
                self.bury(claim.queue, row, reason, clock.now());
            }
        }
        Settled::Done
    }

    /// Counts a trial, if the row is still leased under the claim's token. Answers whether it is.
    pub(crate) fn mark_trial(&mut self, claim: &Claim) -> Settled {
        let queue = self.queue_of(claim);
        match queue.and_then(|queue| queue.leased(claim.row, claim.token)) {
            Some(row) => {
                row.count_trial();
                Settled::Done
            }
            None => Settled::LeaseLost,
        }
    }
}
