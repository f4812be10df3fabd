//! Who may have a receiver while a breaker tries whether the dependency is back.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// As many as there are probes, given in the order in which they are asked for. A receiver without one would fetch
/// a message only to give it back, at each turn of the breaker, and brokers count that.
pub(crate) struct Seats {
    free: Arc<Semaphore>,
    /// How many wait for one.
    seeking: watch::Sender<usize>,
}

/// One of them; dropped, it is free.
pub(crate) type Seat = OwnedSemaphorePermit;

/// Somebody waits.
struct Seeking<'a>(&'a watch::Sender<usize>);

impl Seats {
    pub(super) fn of(probes: u32) -> Self {
        let free = Arc::new(Semaphore::new(probes as usize));
        Self { free, seeking: watch::Sender::new(0) }
    }

    /// The next one that is free. Cancel-safe; that gives up the place in the line.
    pub(crate) async fn take(&self) -> Option<Seat> {
        self.seeking.send_modify(|seeking| *seeking += 1);
        let _seeking = Seeking(&self.seeking);
        // It is never closed.
        self.free.clone().acquire_owned().await.ok()
    }

    /// One that is free now, if nobody waits for it.
    pub(crate) fn try_take(&self) -> Option<Seat> {
        self.free.clone().try_acquire_owned().ok()
    }

    /// Ends when somebody waits for one. Cancel-safe.
    pub(crate) async fn awaited(&self) {
        // Its other end is here.
        let _ = self.seeking.subscribe().wait_for(|seeking| *seeking > 0).await;
    }

    /// Whether somebody waits for one.
    pub(crate) fn are_awaited(&self) -> bool {
        *self.seeking.borrow() > 0
    }
}

impl Drop for Seeking<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|seeking| *seeking -= 1);
    }
}
