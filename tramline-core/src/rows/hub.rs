//! Wakes receivers in this process.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Notify;

/// The outbox rings as the queue that cannot be.
pub const OUTBOX: i64 = 0;

/// And the schedules as another one.
pub const SCHEDULES: i64 = -1;

/// A bell for each queue that is read in this process, and one for the outbox.
#[derive(Default)]
pub struct Hub {
    queues: Mutex<HashMap<i64, Arc<Bell>>>,
    outbox: Arc<Bell>,
    /// This process sends from the outbox.
    relays: AtomicBool,
}

/// Rings when a queue has something new. Counts, so that nobody misses a ring that came between
/// looking and listening.
#[derive(Default)]
pub struct Bell {
    rung: AtomicU64,
    /// How often it had rung when [`Bell::heard`] ended last.
    heard: AtomicU64,
    listeners: Notify,
}

impl Hub {
    /// The bell of `queue`.
    pub fn bell(&self, queue: i64) -> Arc<Bell> {
        self.queues.lock().entry(queue).or_default().clone()
    }

    /// The bell of the outbox.
    pub fn outbox(&self) -> &Bell {
        &self.outbox
    }

    /// The queues that are read, or were, in this process.
    pub fn consumed(&self) -> Vec<i64> {
        let relays = self.is_relay().then_some(OUTBOX);
        self.queues.lock().keys().copied().chain(relays).collect()
    }

    /// Whether this process sends from the outbox.
    pub fn is_relay(&self) -> bool {
        self.relays.load(Ordering::Relaxed)
    }

    /// From now on it does.
    pub fn becomes_relay(&self) {
        self.relays.store(true, Ordering::Relaxed);
    }

    /// `queue` has something new.
    pub fn wake(&self, queue: i64) {
        let bell = match queue {
            OUTBOX => Some(self.outbox.clone()),
            _ => self.queues.lock().get(&queue).cloned(),
        };
        if let Some(bell) = bell {
            bell.ring();
        }
    }

    /// Any queue may have something new.
    pub fn wake_all(&self) {
        let bells: Vec<_> = self.queues.lock().values().cloned().collect();
        bells.iter().chain([&self.outbox]).for_each(|bell| bell.ring());
    }
}

impl Bell {
    /// How often it has rung.
    pub fn rung(&self) -> u64 {
        self.rung.load(Ordering::Acquire)
    }

    /// Ends when it has rung since `rung` was read. Cancel-safe.
    pub async fn rings_after(&self, rung: u64) {
        loop {
            let mut ringing = std::pin::pin!(self.listeners.notified());
            // Listens before it looks, or a ring in between would be lost.
            ringing.as_mut().enable();
            if self.rung() != rung {
                return;
            }
            ringing.await;
        }
    }

    /// Ends when it has rung since this ended last, for anybody. Cancel-safe.
    pub async fn heard(&self) {
        loop {
            let heard = self.heard.load(Ordering::Acquire);
            self.rings_after(heard).await;
            let rung = self.rung();
            // Of two that listen at once, the second waits for the next ring.
            let ours =
                self.heard.compare_exchange(heard, rung, Ordering::AcqRel, Ordering::Acquire);
            if ours.is_ok() {
                return;
            }
        }
    }

    fn ring(&self) {
        self.rung.fetch_add(1, Ordering::AcqRel);
        self.listeners.notify_waiters();
    }
}
