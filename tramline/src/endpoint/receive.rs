//! Takes messages as long as there are slots for them.

use crate::endpoint::gather::{Gathered, Gathering, gather, process_batch};
use crate::endpoint::intake::Intake;
use crate::endpoint::lanes::Lanes;
use crate::endpoint::placed::Placed;
use crate::endpoint::process::{EndpointPipeline, process};
use crate::endpoint::shared::Shared;
use crate::retry::Retry;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use tramline_core::capabilities::Ordering;
use tramline_core::transport::{Delivery, Receiver, Source, Transport};
use tramline_core::{Error, ErrorKind, Result};

/// A running endpoint's way in.
pub(crate) struct Reception {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pipeline: Arc<EndpointPipeline>,
    pub(crate) source: Source,
    pub(crate) concurrency: usize,
    /// Set for batch handlers.
    pub(crate) gathering: Option<Gathering>,
    /// Every message at work, so that a drain can wait for them.
    pub(crate) at_work: TaskTracker,
}

/// Receives until the bus stops. A receiver that fails is replaced after a pause, for ever: only
/// stopping ends it. An outdated program's receivers stop the bus.
pub(crate) async fn receive<T: Transport>(
    reception: Reception,
    transport: Arc<T>,
    receiver: T::Receiver,
) {
    let lanes = reception.keeps_order().then(|| {
        let surroundings = reception.shared.surroundings.clone();
        let (ordering, at_work) = (reception.source.spec.ordering, reception.at_work.clone());
        Arc::new(Lanes::new(ordering, surroundings, at_work))
    });
    receive_all(&reception, &*transport, receiver, lanes.as_ref()).await;
    if let Some(lanes) = lanes {
        lanes.give_back_all().await;
    }
}

async fn receive_all<T: Transport>(
    reception: &Reception,
    transport: &T,
    mut receiver: T::Receiver,
    lanes: Option<&Arc<Lanes<<T::Receiver as Receiver>::Delivery>>>,
) {
    let slots = Arc::new(Semaphore::new(reception.concurrency));
    let mut broken = 0;
    loop {
        let queue = reception.source.queue.clone();
        let stopping = reception.shared.surroundings.stopping.clone();
        let mut intake = Intake { receiver, lanes: lanes.cloned(), queue, stopping };
        let error = match take_all(reception, &mut intake, &slots, &mut broken).await {
            Ok(()) => return,
            Err(error) => error,
        };
        if reception.shared.surroundings.stopping.heed(&error) {
            return;
        }
        broken = u32::saturating_add(broken, 1);
        let endpoint = &*reception.shared.surroundings.name;
        tracing::error!(endpoint, %error, "receiving failed; beginning again after a pause");
        drop(intake);
        match begin_again(reception, transport, &mut broken).await {
            Some(next) => receiver = next,
            None => return,
        }
    }
}

impl Reception {
    /// Whether the order of the queue is kept here.
    fn keeps_order(&self) -> bool {
        self.source.spec.ordering != Ordering::None
            && !self.shared.capabilities.key_lock.is_native()
    }
}

/// A new receiver; `None` if the bus stops first.
async fn begin_again<T: Transport>(
    reception: &Reception,
    transport: &T,
    broken: &mut u32,
) -> Option<T::Receiver> {
    let shared = &reception.shared;
    loop {
        let clock = &shared.surroundings.composer.clock;
        let pause =
            pause_before_receiving_again(*broken, shared.surroundings.composer.entropy.fraction());
        tokio::select! {
            biased;
            () = shared.surroundings.stopping.begun() => return None,
            () = clock.sleep_until(clock.now().after(pause)) => {}
        }
        let receiver = tokio::select! {
            biased;
            () = shared.surroundings.stopping.begun() => return None,
            receiver = transport.receiver(&reception.source) => receiver,
        };
        match receiver {
            Ok(receiver) => return Some(receiver),
            Err(error) if shared.surroundings.stopping.heed(&error) => return None,
            Err(error) => {
                tracing::error!(endpoint = &*shared.surroundings.name, %error, "cannot receive");
                *broken = broken.saturating_add(1);
            }
        }
    }
}

fn pause_before_receiving_again(broken: u32, fraction: f64) -> Duration {
    let policy = Retry::exponential(Duration::from_millis(200)).max(Duration::from_secs(15));
    // Half of each pause is certain, so that a broker on its knees is never hammered.
    policy
        .jitter()
        .runs(u32::MAX)
        .pause(broken, 0.5 + fraction / 2.0)
        .unwrap_or(Duration::from_secs(15))
}

/// Takes messages until the bus stops (`Ok`) or the receiver fails.
async fn take_all<R: Receiver>(
    reception: &Reception,
    receiver: &mut Intake<R>,
    slots: &Arc<Semaphore>,
    broken: &mut u32,
) -> Result<()> {
    let stopping = &reception.shared.surroundings.stopping;
    let mut stopped = pin!(stopping.begun());
    loop {
        // What is there is taken first: most of the time nobody needs to wait, nor to be told when the
        // bus stops while he does.
        let slot = tokio::select! {
            biased;
            slot = slots.clone().acquire_owned() => slot,
            () = &mut stopped => break,
        };
        let Ok(slot) = slot else { break };
        if stopping.has_begun() {
            break;
        }
        let next = tokio::select! {
            biased;
            next = receiver.next() => next?,
            () = &mut stopped => break,
        };
        let Some(delivery) = next else {
            // Only `stop` may end a receiver. An endpoint that hears nothing more must not look
            // as if its queue was empty.
            let doing = format!("receive from {}: the receiver ended", reception.source.queue);
            return Err(Error::new(ErrorKind::Unavailable, doing));
        };
        *broken = 0;
        match reception.gathering {
            None => start_work(reception, delivery, slot),
            Some(gathering) => {
                start_batch(reception, receiver, delivery, slot, gathering).await?;
            }
        }
    }
    receiver.give_back().await
}

/// Hands a message to a task.
fn start_work<D: Delivery>(reception: &Reception, delivery: Placed<D>, slot: OwnedSemaphorePermit) {
    let (shared, pipeline) = (reception.shared.clone(), reception.pipeline.clone());
    // A task's future is moved several times before it runs, and this one takes more than a kilobyte:
    // in a box it is copied once.
    reception.at_work.spawn(Box::pin(process(shared, pipeline, delivery, slot)));
}

/// Hands the batch that begins with a message to a task.
///
/// # Errors
/// The receiver failed while the batch was gathered; what it delivered is at work.
async fn start_batch<R: Receiver>(
    reception: &Reception,
    receiver: &mut Intake<R>,
    first: Placed<R::Delivery>,
    slot: OwnedSemaphorePermit,
    gathering: Gathering,
) -> Result<()> {
    let (shared, pipeline) = (reception.shared.clone(), reception.pipeline.clone());
    let Gathered { batch, error } = gather(&shared, receiver, first, gathering).await;
    reception.at_work.spawn(process_batch(shared, pipeline, batch, slot));
    error.map_or(Ok(()), Err)
}
