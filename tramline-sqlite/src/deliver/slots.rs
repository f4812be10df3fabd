//! How much a receiver may hold: its prefetch.

use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Notify;

/// The slots of one receiver.
pub(crate) struct Slots {
    total: usize,
    taken: Mutex<usize>,
    freed: Notify,
}

/// Slots that were taken; free again when dropped.
pub(crate) struct Reserved {
    slots: Arc<Slots>,
    count: usize,
}

impl Slots {
    pub(crate) fn new(prefetch: u32) -> Arc<Self> {
        let total = prefetch.max(1) as usize;
        Arc::new(Self { total, taken: Mutex::new(0), freed: Notify::new() })
    }

    /// Takes all slots that are free, if they are at least `worth`.
    pub(crate) fn reserve(self: &Arc<Self>, worth: usize) -> Option<Reserved> {
        let mut taken = self.taken.lock();
        let free = self.total - *taken;
        if free == 0 || free < worth {
            return None;
        }
        *taken = self.total;
        Some(Reserved { slots: self.clone(), count: free })
    }

    /// Half of the slots: worth a claim while there is still something to hand out.
    pub(crate) fn half(&self) -> usize {
        self.total.div_ceil(2)
    }

    /// Ends when a slot was freed since the last call, at once if one was. Cancel-safe.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }

    fn free(&self, count: usize) {
        *self.taken.lock() -= count;
        self.freed.notify_one();
    }
}

impl Reserved {
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// One of these slots, to be freed by itself.
    pub(crate) fn one(&mut self) -> Option<Slot> {
        self.count = self.count.checked_sub(1)?;
        Some(Slot(self.slots.clone()))
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.count > 0 {
            self.slots.free(self.count);
        }
    }
}

/// One slot that was taken; free again when dropped.
pub(crate) struct Slot(Arc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.free(1);
    }
}
