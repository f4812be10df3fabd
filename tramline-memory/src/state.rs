//! Everything that is under the one lock.

use crate::bell::Rings;
use crate::memory::Handle;
use crate::posting::Post;
use crate::queue::{Holder, Next, Queue};
use crate::routes::QueueNumber;
use crate::row::Row;
use crate::store::{Inbox, OutboxRows, Tables};
use tramline_core::clock::{Clock, Timestamp};
use tramline_core::dead::Reason;
use tramline_core::topology::QueueSpec;

#[derive(Debug, Default)]
pub(crate) struct State {
    queues: Vec<Queue>,
    rows_ever: i64,
    tokens_ever: i64,
    pub(crate) tables: Tables,
    pub(crate) inbox: Inbox,
    pub(crate) outbox: OutboxRows,
    /// Who is to be woken once the lock is free.
    pub(crate) rings: Rings,
}

/// A row and the token it is leased under: whoever holds it may settle the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) queue: QueueNumber,
    pub(crate) row: i64,
    pub(crate) token: i64,
}

/// What there was to take.
pub(crate) enum Taken {
    /// A row, with the number of evictions that its queue has seen.
    Row { claim: Claim, row: Row, evictions: u64 },
    /// Nothing before then, unless something arrives.
    Nothing { due: Option<Timestamp> },
}

impl State {
    /// Adds a queue and, right behind it, its dead letters, which keep to no order or limit.
    pub(crate) fn add(&mut self, spec: &QueueSpec) -> QueueNumber {
        let number = QueueNumber(self.queues.len());
        self.queues.extend([Queue::new(spec), Queue::default()]);
        number
    }

    pub(crate) fn queue(&mut self, number: QueueNumber) -> &mut Queue {
        &mut self.queues[number.0]
    }

    /// The queue that a ticket names, if there is one.
    pub(crate) fn queue_of(&mut self, claim: &Claim) -> Option<&mut Queue> {
        self.queues.get_mut(claim.queue.0)
    }

    /// Whether a claim still holds.
    pub(crate) fn is_leased(&mut self, claim: &Claim) -> bool {
        let queue = self.queue_of(claim);
        queue.is_some_and(|queue| queue.leased(claim.row, claim.token).is_some())
    }

    pub(crate) fn post(&mut self, posts: Vec<Post>) {
        for Post { to, row, due } in posts {
            self.put_last(to, row, due);
        }
    }

    /// Puts a row behind all others of its queue.
    pub(crate) fn put_last(&mut self, to: QueueNumber, row: Row, due: Option<Timestamp>) {
        self.rows_ever += 1;
        self.queues[to.0].put(self.rows_ever, row, due, &mut self.rings);
    }

    /// Puts a row into the place that it had.
    pub(crate) fn put_back(&mut self, claim: &Claim, row: Row, due: Option<Timestamp>) {
        self.queues[claim.queue.0].put(claim.row, row, due, &mut self.rings);
    }

    /// Leases the next row of a queue. What has used up its deliveries is dead-lettered on the way.
    pub(crate) fn take(&mut self, number: QueueNumber, handle: Handle, clock: &dyn Clock) -> Taken {
        self.queue(number).promote(|| clock.now());
        self.tokens_ever += 1;
        let token = self.tokens_ever;
        loop {
            let queue = &mut self.queues[number.0];
            let evictions = queue.bell.evictions();
            match queue.take(Holder { token, handle }) {
                Next::Row(id, row) => {
                    let claim = Claim { queue: number, row: id, token };
                    return Taken::Row { claim, row: row.clone(), evictions };
                }
                Next::Nothing { due } => return Taken::Nothing { due },
                Next::Spent(id) => {
                    let reason = Reason::Other("delivery limit".to_owned());
                    if let Some(row) = queue.remove(id) {
                        self.bury(number, row, reason, clock.now());
                    }
                }
            }
        }
    }

    /// Puts a row that is in no queue to the dead letters of `queue`.
    pub(crate) fn bury(
        &mut self,
        queue: QueueNumber,
        mut row: Row,
        reason: Reason,
        now: Timestamp,
    ) {
        row.record.bury(reason, now);
        let row = Row { deliveries: 0, since: now, ..row };
        self.put_last(queue.dead(), row, None);
    }

    /// Ends the leases that `whom` has on rows of a queue. Answers how many.
    pub(crate) fn evict(&mut self, number: QueueNumber, whom: impl Fn(Handle) -> bool) -> usize {
        self.queues[number.0].evict(whom, &mut self.rings)
    }

    /// Ends all leases of a handle.
    pub(crate) fn evict_from_all(&mut self, handle: Handle) {
        for queue in &mut self.queues {
            queue.evict(|holder| holder == handle, &mut self.rings);
        }
    }
}
