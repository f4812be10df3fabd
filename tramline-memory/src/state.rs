//! Everything that is under the one lock.

use crate::admission::Admission;
use crate::bell::{Ring, Rings};
use crate::memory::Handle;
use crate::posting::Post;
use crate::queue::{Eviction, Holder, Manner, Next, Queue};
use crate::routes::QueueNumber;
use crate::row::Row;
use crate::store::{Inbox, OutboxRows, ScheduleRows, Tables};
use tramline_core::Result;
use tramline_core::clock::{Clock, Timestamp};
use tramline_core::dead::Reason;
use tramline_core::topology::QueueSpec;

#[derive(Debug, Default)]
pub(crate) struct State {
    queues: Vec<Queue>,
    manner: Manner,
    rows_ever: i64,
    tokens_ever: i64,
    pub(crate) tables: Tables,
    pub(crate) inbox: Inbox,
    pub(crate) outbox: OutboxRows,
    pub(crate) schedules: ScheduleRows,
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

/// What became of a message that was put.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Posted {
    /// Whether any queue got it, now or before.
    pub(crate) routed: bool,
    /// Whether any of these is [crowded](Queue::is_crowded).
    pub(crate) is_ahead: bool,
}

/// What there was to take.
pub(crate) enum Taken {
    /// A row, with the number of evictions that its queue has seen.
    Row { claim: Claim, row: Row, evictions: u64 },
    /// Nothing before then, unless something arrives.
    Nothing { due: Option<Timestamp> },
}

impl State {
    pub(crate) fn new(manner: Manner) -> Self {
        Self { manner, ..Self::default() }
    }

    /// Adds a queue and, right behind it, its dead letters, which keep to no order or limit.
    pub(crate) fn add(&mut self, spec: &QueueSpec) -> QueueNumber {
        let number = QueueNumber(self.queues.len());
        self.queues.extend([Queue::new(spec, self.manner), Queue::of_dead_letters(spec)]);
        number
    }

    /// Removes all that is in a queue that is gone. Its number is not given again: somebody may still wait
    /// for its messages.
    pub(crate) fn empty(&mut self, spec: &QueueSpec, number: QueueNumber) {
        self.queues[number.0] = Queue::new(spec, self.manner);
        self.queues[number.dead().0] = Queue::of_dead_letters(spec);
    }

    pub(crate) fn queue(&mut self, number: QueueNumber) -> &mut Queue {
        &mut self.queues[number.0]
    }

    /// The same, as it is.
    pub(crate) fn look(&self, number: QueueNumber) -> &Queue {
        &self.queues[number.0]
    }

    /// The queue as it is at a moment.
    pub(crate) fn queue_at(&mut self, number: QueueNumber, now: Timestamp) -> &mut Queue {
        let queue = self.queue(number);
        queue.refresh(|| now);
        queue
    }

    /// The queue that a ticket names, if there is one.
    pub(crate) fn queue_of(&mut self, claim: &Claim) -> Option<(&mut Queue, &mut Rings)> {
        Some((self.queues.get_mut(claim.queue.0)?, &mut self.rings))
    }

    /// Whether a claim still holds.
    pub(crate) fn is_leased(&mut self, claim: &Claim) -> bool {
        let queue = self.queue_of(claim);
        queue.is_some_and(|(queue, _)| queue.leased(claim.row, claim.token).is_some())
    }

    /// Puts all copies of a message, or none of them.
    pub(crate) fn post(&mut self, copies: Vec<Post>) -> Result<Posted> {
        let routed = !copies.is_empty();
        let admitted = Admission::new(self).judge(copies)?;
        let is_ahead = admitted.iter().any(|post| self.look(post.to).is_crowded());
        self.put_all(admitted);
        Ok(Posted { routed, is_ahead })
    }

    /// Puts all copies of all messages, or none of any. The rows `left` leave their queues in the same change.
    pub(crate) fn post_together(
        &mut self,
        messages: Vec<Vec<Post>>,
        left: &[(QueueNumber, i64)],
    ) -> Result<()> {
        let mut admission = Admission::new(self).beside(left);
        let judged = messages.into_iter().map(|copies| admission.judge(copies));
        let admitted: Vec<Vec<Post>> = judged.collect::<Result<_>>()?;
        admitted.into_iter().for_each(|posts| self.put_all(posts));
        Ok(())
    }

    fn put_all(&mut self, posts: Vec<Post>) {
        for Post { to, row, due, known, .. } in posts {
            if let (Some(window), Some(known)) = (&mut self.queue(to).window, known) {
                window.remember(known, row.since);
            }
            self.put_last(to, row, due);
        }
    }

    /// Puts a row behind all others of its queue.
    pub(crate) fn put_last(&mut self, to: QueueNumber, row: Row, due: Option<Timestamp>) {
        self.rows_ever += 1;
        self.queues[to.0].put(self.rows_ever, row, due, &mut self.rings);
    }

    /// Leases the next row of a queue. What must not be handed out any more is dead-lettered on the
    /// way.
    pub(crate) fn take(&mut self, number: QueueNumber, handle: Handle, clock: &dyn Clock) -> Taken {
        self.queue(number).refresh(|| clock.now());
        self.tokens_ever += 1;
        let token = self.tokens_ever;
        loop {
            let queue = &mut self.queues[number.0];
            let evictions = queue.bell.evictions();
            match queue.take(Holder { token, handle }, || clock.now()) {
                Next::Row(id, row) => {
                    let claim = Claim { queue: number, row: id, token };
                    return Taken::Row { claim, row: row.clone(), evictions };
                }
                Next::Nothing { due } => return Taken::Nothing { due },
                Next::Over(id, reason) => self.bury(number, id, reason, clock.now()),
            }
        }
    }

    /// Moves a row of `queue` to its dead letters.
    pub(crate) fn bury(&mut self, queue: QueueNumber, id: i64, reason: Reason, now: Timestamp) {
        let Some(mut row) = self.queues[queue.0].remove(id, &mut self.rings) else { return };
        row.record.bury(reason, now);
        let row = Row { deliveries: 0, handed_out: 0, since: now, ..row };
        self.queue_at(queue.dead(), now);
        self.put_last(queue.dead(), row, None);
    }

    /// Puts a dead letter back to the queue `main`, as new, if it is free. Answers whether it was.
    pub(crate) fn redrive(&mut self, main: QueueNumber, id: i64, now: Timestamp) -> bool {
        let (dead, rings) = (&mut self.queues[main.dead().0], &mut self.rings);
        let Some(row) = dead.remove_free(id, rings) else { return false };
        self.put_last(main, row.redriven(now), None);
        true
    }

    /// Ends the leases that `whom` has on rows of a queue. Answers how many.
    pub(crate) fn evict(&mut self, number: QueueNumber, whom: impl Fn(Handle) -> bool) -> usize {
        self.queues[number.0].evict(whom, Eviction::Unheard, &mut self.rings)
    }

    /// Ends all leases of a handle.
    pub(crate) fn evict_from_all(&mut self, handle: Handle, how: Eviction) {
        for queue in &mut self.queues {
            queue.evict(|holder| holder == handle, how, &mut self.rings);
        }
    }

    /// Whoever waits for any queue looks again.
    pub(crate) fn wake_everybody(&mut self) {
        for queue in &self.queues {
            self.rings.add(&queue.bell, Ring::EarlierDue);
        }
    }
}
