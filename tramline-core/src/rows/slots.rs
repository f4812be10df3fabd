//! How much a receiver may hold: its prefetch.

use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Notify;

/// The slots of one receiver.
pub struct Slots {
    count: Mutex<Count>,
    freed: Notify,
}

struct Count {
    total: usize,
    taken: usize,
}

/// Slots that were taken; free again when dropped.
pub struct Reserved {
    slots: Arc<Slots>,
    count: usize,
}

impl Slots {
    /// So many slots, all free.
    pub fn new(total: usize) -> Arc<Self> {
        Arc::new(Self { count: Mutex::new(Count { total, taken: 0 }), freed: Notify::new() })
    }

    /// From now on there are so many. Those beyond that are given up as they become free.
    pub fn resize(&self, total: usize) {
        self.count.lock().total = total;
    }

    /// Takes all slots that are free, if they are at least `worth`.
    pub fn reserve(self: &Arc<Self>, worth: usize) -> Option<Reserved> {
        let mut count = self.count.lock();
        let free = count.total.saturating_sub(count.taken);
        if free == 0 || free < worth {
            return None;
        }
        count.taken = count.total;
        Some(Reserved { slots: self.clone(), count: free })
    }

    /// Half of the slots: worth a claim while there is still something to hand out.
    pub fn half(&self) -> usize {
        self.count.lock().total.div_ceil(2)
    }

    /// Ends when a slot was freed since the last call, at once if one was. Cancel-safe.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }

    fn free(&self, count: usize) {
        self.count.lock().taken -= count;
        self.freed.notify_one();
    }
}

impl Reserved {
    /// How many were taken.
    pub fn count(&self) -> usize {
        self.count
    }

    /// One of these slots, to be freed by itself.
    pub fn one(&mut self) -> Option<Slot> {
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
pub struct Slot(Arc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.free(1);
    }
}
