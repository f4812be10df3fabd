//! The temporary queue that the replies to one bus's requests come to.

use super::desk::Desk;
use crate::bus::Bus;
use crate::retry::Retry;
use crate::temporary::name_temporary;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::RwLock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tramline_core::erased::{DynDelivery, DynReceiver, DynTransport};
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::settlement::Settlement;
use tramline_core::topology::{QueueSpec, Topology};
use tramline_core::transport::Source;
use tramline_core::{Error, Result};

/// How many replies may be at hand unsettled.
const PREFETCH: u32 = 1000;

/// Where replies come to: made when the first request is sent.
#[derive(Default)]
pub(crate) struct Replies {
    counter: RwLock<Option<Counter>>,
    /// One at a time makes it.
    opening: Mutex<()>,
}

/// The queue and who waits at it.
#[derive(Clone)]
struct Counter {
    spec: QueueSpec,
    desk: Arc<Desk>,
}

impl Replies {
    /// Who waits, and the address that replies find them by.
    ///
    /// # Errors
    /// The transport has no temporary queues, or cannot be had.
    pub(super) async fn open(&self, bus: &Bus) -> Result<(Arc<Desk>, String)> {
        let transport = &*bus.inner().transport;
        if let Some(open) = self.opened(transport) {
            return Ok(open);
        }
        // Whoever asks first may not wait for it to its end, and others do.
        let opening = tokio::spawn({
            let bus = bus.clone();
            async move { bus.inner().replies.open_anew(&bus).await }
        });
        opening.await.unwrap_or_else(|_| Err(Error::closed("the bus")))
    }

    async fn open_anew(&self, bus: &Bus) -> Result<(Arc<Desk>, String)> {
        let transport = &*bus.inner().transport;
        let _turn = self.opening.lock().await;
        if let Some(open) = self.opened(transport) {
            return Ok(open);
        }
        let name = QueueName::foreign("tramline-replies");
        let mut spec = QueueSpec { temporary: true, ..QueueSpec::new(name) };
        let can = transport.capabilities_dyn(&spec).temporary_queues;
        if !can.is_offered() {
            let what = "requests (capability `temporary_queues`)";
            return Err(Error::unsupported(what, transport.name_dyn()));
        }
        name_temporary(&mut spec, can, &*bus.inner().composer.entropy);
        let receiver = receiver(transport, &spec).await?;
        let counter = Counter { spec, desk: Arc::default() };
        *self.counter.write() = Some(counter.clone());
        tokio::spawn(hand_out(bus.clone(), counter, receiver));
        self.opened(transport).ok_or_else(|| Error::closed("the bus"))
    }

    /// Replaced where the transport has lost the queue.
    fn opened(&self, transport: &dyn DynTransport) -> Option<(Arc<Desk>, String)> {
        let counter = self.counter.read();
        let Counter { spec, desk } = counter.as_ref()?;
        Some((desk.clone(), transport.address_dyn(&spec.name)?))
    }

    /// Whether `counter` is still the one that requests name.
    fn is_current(&self, counter: &Counter) -> bool {
        self.counter
            .read()
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(&current.desk, &counter.desk))
    }
}

async fn receiver(transport: &dyn DynTransport, spec: &QueueSpec) -> Result<Box<dyn DynReceiver>> {
    let topology = Topology { queues: vec![spec.clone()], ..Topology::default() };
    transport.declare_dyn(&topology).await?;
    let queue = QueueRef::Main(spec.name.clone());
    let source = Source { spec: spec.clone(), ..Source::of(queue, PREFETCH) };
    transport.receiver_dyn(&source).await
}

/// Hands out replies until the bus is drained, or there is another queue for them. Handlers that finish while it
/// drains may wait for some, so the beginning of a drain does not end it.
async fn hand_out(bus: Bus, counter: Counter, mut receiver: Box<dyn DynReceiver>) {
    let running = bus.inner();
    let clock = &running.composer.clock;
    let mut broken = 0;
    while running.replies.is_current(&counter) {
        let taken = tokio::select! {
            biased;
            () = running.killed.cancelled() => break,
            taken = take(&mut *receiver, &counter.desk) => taken,
        };
        tracing::warn!(error = %taken, "replies cannot be received; beginning again after a pause");
        if running.stopping.heed(&taken) {
            break;
        }
        loop {
            let pause = Retry::exponential(Duration::from_millis(200)).max(Duration::from_secs(15));
            let fraction = 0.5 + running.composer.entropy.fraction() / 2.0;
            let pause = pause.jitter().runs(u32::MAX).pause(broken + 1, fraction);
            tokio::select! {
                biased;
                () = running.killed.cancelled() => return,
                () = clock.sleep_until(clock.now().after(pause.unwrap_or_default())) => {}
            }
            match self::receiver(&*running.transport, &counter.spec).await {
                Ok(again) => {
                    receiver = again;
                    broken = 0;
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "replies cannot be received");
                    broken = u32::saturating_add(broken, 1).min(100);
                }
            }
        }
    }
}

/// Hands out replies until the receiver fails: why it did.
async fn take(receiver: &mut dyn DynReceiver, desk: &Desk) -> Error {
    // Many settle together: one that waited for each would be as slow as the broker's commits.
    let mut settling = FuturesUnordered::new();
    loop {
        let next = tokio::select! {
            biased;
            next = receiver.next_dyn() => next,
            Some(()) = settling.next(), if !settling.is_empty() => continue,
        };
        match next {
            Ok(Some(delivery)) => {
                desk.deliver(delivery.envelope_dyn());
                settling.push(ack(delivery));
            }
            Ok(None) => return Error::closed("the receiver of replies"),
            Err(error) => return error,
        }
        while settling.len() >= PREFETCH as usize {
            settling.next().await;
        }
    }
}

async fn ack(delivery: Box<dyn DynDelivery>) {
    if let Err(error) = delivery.settle_dyn(Settlement::Ack).await {
        // It comes again, and is late then.
        tracing::debug!(%error, "a reply could not be settled");
    }
}
