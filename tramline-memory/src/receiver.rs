//! Receives: takes what is ready, else waits until something may be.

use crate::bell::Bell;
use crate::delivery::MemoryDelivery;
use crate::lease::Lease;
use crate::memory::{Handle, Memory};
use crate::routes::QueueNumber;
use crate::shared::Shared;
use crate::state::Taken;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Notify;
use tramline_core::Result;
use tramline_core::clock::Timestamp;
use tramline_core::name::QueueRef;
use tramline_core::transport::{Receiver, Source};

/// Takes messages from one queue of a [`Memory`], each at the moment it is asked for: nothing is
/// fetched ahead.
///
/// Dropping it takes nothing back: what it delivered can still be settled.
#[derive(Debug)]
pub struct MemoryReceiver {
    consumer: Arc<Consumer>,
    stopped: bool,
}

/// What a receiver shares with its deliveries.
pub(crate) struct Consumer {
    pub(crate) shared: Arc<Shared>,
    handle: Handle,
    pub(crate) queue: QueueRef,
    pub(crate) bell: Arc<Bell>,
    number: QueueNumber,
    prefetch: u32,
    unsettled: AtomicU32,
    freed: Notify,
}

impl MemoryReceiver {
    pub(crate) fn new(memory: &Memory, source: &Source) -> Result<Self> {
        let number = memory.shared.routes().declared(&source.queue)?;
        let consumer = Consumer {
            shared: memory.shared.clone(),
            handle: memory.handle,
            queue: source.queue.clone(),
            bell: memory.shared.change(|state| state.queue(number).bell.clone()),
            number,
            prefetch: source.prefetch.max(1),
            unsettled: AtomicU32::new(0),
            freed: Notify::new(),
        };
        Ok(Self { consumer: Arc::new(consumer), stopped: false })
    }
}

impl Receiver for MemoryReceiver {
    type Delivery = MemoryDelivery;

    async fn next(&mut self) -> Result<Option<MemoryDelivery>> {
        if self.stopped {
            return Ok(None);
        }
        // A full queue answers without ever waiting; its reader must not starve other tasks.
        tokio::task::coop::consume_budget().await;
        self.consumer.slot().await;
        Ok(Some(self.consumer.message().await))
    }

    async fn stop(&mut self) -> Result<()> {
        self.stopped = true;
        Ok(())
    }
}

impl Consumer {
    /// Waits until fewer deliveries than the prefetch are unsettled. Only the receiver takes, so
    /// the slot is still free when this has returned.
    async fn slot(&self) {
        while self.unsettled.load(Ordering::Acquire) >= self.prefetch {
            self.freed.notified().await;
        }
    }

    /// A delivery has ended, whichever way.
    pub(crate) fn free_slot(&self) {
        if self.unsettled.fetch_sub(1, Ordering::AcqRel) >= self.prefetch {
            self.freed.notify_one();
        }
    }

    async fn message(self: &Arc<Self>) -> MemoryDelivery {
        if let Ok(delivery) = self.take() {
            return delivery;
        }
        loop {
            // Registered before the second look: see `Bell`.
            let mut arrived = pin!(self.bell.arrived.notified());
            arrived.as_mut().enable();
            match self.take() {
                Ok(delivery) => return delivery,
                Err(None) => arrived.await,
                // Always in this order, so that what happens depends on nothing but the clock.
                Err(Some(due)) => tokio::select! {
                    biased;
                    () = arrived => {}
                    () = self.shared.options.clock.sleep_until(due) => {}
                },
            }
        }
    }

    /// The next message, else when one becomes due.
    fn take(self: &Arc<Self>) -> Result<MemoryDelivery, Option<Timestamp>> {
        let clock = &*self.shared.options.clock;
        match self.shared.change(|state| state.take(self.number, self.handle, clock)) {
            Taken::Nothing { due } => Err(due),
            Taken::Row { claim, row, evictions } => {
                self.unsettled.fetch_add(1, Ordering::AcqRel);
                Ok(MemoryDelivery::new(Lease::new(self.clone(), claim, evictions), row))
            }
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.queue, self.shared.database)
    }
}
