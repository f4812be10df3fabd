//! How a memory is made.

use crate::memory::Memory;
use crate::queue::Manner;
use crate::shared::Shared;
use std::{fmt, sync::Arc};
use tramline_core::capabilities::{Support, TemporaryQueues};
use tramline_core::clock::{Clock, Entropy, SystemClock, SystemEntropy};
use tramline_core::transport::Outgoing;

/// How a [`Memory`] is made: `Memory::options().clock(…).build()`.
#[must_use = "options make a memory by `build`"]
#[derive(Clone)]
pub struct MemoryOptions {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) delayed_retry: Support,
    pub(crate) dead_letter: Support,
    pub(crate) watcher: Option<Watcher>,
    pub(crate) key_lock: Support,
    pub(crate) temporary_queues: TemporaryQueues,
}

/// Told of every message that is accepted.
pub(crate) type Watcher = Arc<dyn Fn(&Outgoing) + Send + Sync>;

impl MemoryOptions {
    /// Delays and ages are measured by `clock`. Default: the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Messages that come without an id get one made of `entropy`. Default: the machine's.
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// Refuses `Settlement::Retry`, as brokers do that can only send a copy: the engine's way for
    /// those can then be tested without a broker. A copy stands behind all others of its key, so
    /// [keys are not locked](Self::without_key_lock) either.
    pub fn without_native_retry(mut self) -> Self {
        self.delayed_retry = Support::No;
        self.without_key_lock()
    }

    /// Queues that keep an order hand out messages of one key without waiting for those before
    /// them: in order to a single receiver, as brokers do that have no more to offer. Who handles
    /// them one after the other is the engine.
    pub fn without_key_lock(mut self) -> Self {
        self.key_lock = Support::No;
        self
    }

    /// Refuses `Settlement::DeadLetter`; dead letters are then an ordinary queue, to which anything
    /// can be sent, and what has expired is handed out as ever.
    pub fn without_native_dead_letters(mut self) -> Self {
        self.dead_letter = Support::No;
        self
    }

    /// Refuses temporary queues, and so requests.
    pub fn without_temporary_queues(mut self) -> Self {
        self.temporary_queues = TemporaryQueues::No;
        self
    }

    /// For tests: `watcher` is told of every message at the moment it is in, whether it was sent
    /// or published in a transaction, and whether or not any queue has subscribed to it. It must
    /// not use the memory: that waits for it.
    pub fn watch(mut self, watcher: impl Fn(&Outgoing) + Send + Sync + 'static) -> Self {
        self.watcher = Some(Arc::new(watcher));
        self
    }

    /// How its queues behave.
    pub(crate) fn manner(&self) -> Manner {
        Manner { locks_keys: self.key_lock.is_native(), expires: self.dead_letter.is_native() }
    }

    /// The memory, empty.
    pub fn build(self) -> Memory {
        Memory::on(Arc::new(Shared::new(self)))
    }
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            delayed_retry: Support::Native,
            dead_letter: Support::Native,
            watcher: None,
            key_lock: Support::Native,
            temporary_queues: TemporaryQueues::ByName,
        }
    }
}

impl fmt::Debug for MemoryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryOptions")
            .field("delayed_retry", &self.delayed_retry)
            .field("dead_letter", &self.dead_letter)
            .field("key_lock", &self.key_lock)
            .finish_non_exhaustive()
    }
}
