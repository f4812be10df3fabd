//! The handle.

use crate::options::MemoryOptions;
use crate::queue::Eviction;
use crate::shared::Shared;
use std::sync::Arc;
use tramline_core::name::{QueueName, QueueRef};

/// A broker and a database in this process's memory.
///
/// A clone is another handle on the same broker, as another process would have one: it sees the
/// same queues and tables, and closing one handle gives back what was taken through it, and not
/// what was taken through others.
///
/// It is both a [`tramline_core::transport::Transport`] and a [`tramline_core::store::Store`], and
/// the two share one database: a transaction takes the ack, the handler's writes and the messages
/// it publishes all at once.
///
/// What is in it stays until the last handle, receiver and delivery is dropped.
#[derive(Debug)]
pub struct Memory {
    pub(crate) shared: Arc<Shared>,
    /// This handle among all on the broker: whose leases are whose.
    pub(crate) handle: Handle,
}

/// A number for each handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle(pub(crate) u64);

impl Memory {
    /// An empty memory with the machine's clock that offers everything it can natively.
    pub fn new() -> Self {
        Self::options().build()
    }

    /// An empty memory with another clock, or with less than it could offer.
    pub fn options() -> MemoryOptions {
        MemoryOptions::default()
    }

    /// For tests: as if the lease of every delivery from `queue`, and from its dead letters, had
    /// ended. Answers how many did; of a queue that is not declared, none.
    ///
    /// The messages are back in their places when this returns. The deliveries learn it by
    /// [`lost`](tramline_core::transport::Delivery::lost), and from then on every way to settle
    /// them answers that the lease is lost.
    pub fn expire_leases(&self, queue: &QueueName) -> usize {
        let routes = self.shared.routes();
        let both = [QueueRef::Main(queue.clone()), QueueRef::Dead(queue.clone())];
        let numbers = both.iter().filter_map(|queue| routes.number(queue));
        self.shared.change(|state| numbers.map(|number| state.evict(number, |_| true)).sum())
    }

    /// For tests: as if the process behind this handle had died.
    ///
    /// Every lease that was taken through this handle ends at once, on queues and on the outbox.
    /// The messages stand in their places again with nothing charged, and each keeps the count of
    /// its deliveries, because nobody heard how this one ended. Rows of the outbox can be claimed
    /// again with the attempts that they had. Its temporary queues are gone. What was committed, sent or
    /// settled before stays.
    ///
    /// Deliveries of this handle learn it by
    /// [`lost`](tramline_core::transport::Delivery::lost). However they are settled from then on,
    /// the answer is that the lease is lost; dropping them does nothing, and a transaction with
    /// one of their tickets is refused. So crash first, and drop second whatever the dead process
    /// was made of: dropping it while it lives would give its messages back, uncounted. Nothing
    /// stops this handle from being used further; that is left to whoever plays the process.
    ///
    /// A clone is another handle, with leases of its own. A process that has its transport and its
    /// store as two clones dies when both crash.
    pub fn crash(&self) {
        // What the dead process waits with may have been rung for, and hands that on when it is
        // dropped: in which order is the runtime's whim. So whoever lives is woken here.
        self.shared.appended.notify_waiters();
        self.shared.declare(|routes, state| routes.leave(self.handle, state));
        self.shared.change(|state| {
            state.evict_from_all(self.handle, Eviction::Unheard);
            state.outbox.evict(self.handle);
            state.wake_everybody();
            // Relays of other processes may have set their timers for the end of these leases.
            state.rings.appended = true;
        });
    }

    pub(crate) fn on(shared: Arc<Shared>) -> Self {
        let handle = shared.new_handle();
        Self { shared, handle }
    }
}

impl Clone for Memory {
    fn clone(&self) -> Self {
        Self::on(self.shared.clone())
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}
