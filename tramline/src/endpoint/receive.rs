//! Takes messages as long as there are slots for them.

use crate::endpoint::batch::process_batch;
use crate::endpoint::gather::{Gathered, Gatherer, Gathering};
use crate::endpoint::intake::Intake;
use crate::endpoint::lanes::Lanes;
use crate::endpoint::metered::{EndpointPace, Metered};
use crate::endpoint::pausing::{Gate, in_vain, next, shut};
use crate::endpoint::placed::Placed;
use crate::endpoint::process::{EndpointPipeline, process};
use crate::endpoint::protection::Protection;
use crate::endpoint::rate::Pace;
use crate::endpoint::settle::return_all;
use crate::endpoint::shared::Shared;
use crate::endpoint::waiting::{Room, WaitingRoom};
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
    pub(crate) protection: Protection,
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
    let pace = reception.pace();
    let mut waiting = reception.waiting_room();
    let mut gatherer =
        reception.gathering.map(|gathering| Gatherer::new(gathering, reception.source.prefetch));
    let clock = &reception.shared.surroundings.composer.clock;
    let gate_of = |breaker| Gate::of_all(breaker, clock.clone());
    let mut gate = reception.protection.breaker.clone().map(gate_of);
    let mut broken = 0;
    loop {
        let queue = reception.source.queue.clone();
        let stopping = reception.shared.surroundings.stopping.clone();
        let lanes_too = lanes.cloned();
        let intake = Intake { receiver, lanes: lanes_too, queue, stopping, is_ending: false };
        let mut metered = Metered { intake, pace: pace.clone(), waiting };
        if let (Some(waiting), Some(gate)) = (&mut metered.waiting, &gate) {
            waiting.set_narrow(gate.is_narrow());
        }
        let work = Work { reception, slots: &slots, gate: &gate };
        let taken = match work.take_all(&mut metered, &mut gatherer, &mut broken).await {
            Err(error) => Err(metered.intake.end(error).await),
            taken => taken,
        };
        waiting = metered.waiting.take();
        drop(metered);
        match taken {
            Ok(Taken::UntilStopped) => return,
            Ok(Taken::UntilShut) => {}
            Err(error) if reception.shared.surroundings.stopping.heed(&error) => break,
            Err(error) => {
                broken = u32::saturating_add(broken, 1);
                let endpoint = &*reception.shared.surroundings.name;
                tracing::error!(endpoint, %error, "receiving failed; beginning again after a pause");
            }
        }
        let can_take = CanTake { slots: &slots, pace: pace.as_deref() };
        let (waiting, gate, broken) = (&mut waiting, &mut gate, &mut broken);
        match begin_again(reception, transport, lanes, waiting, can_take, gate, broken).await {
            Some(next) => receiver = next,
            None => break,
        }
    }
    let left = waiting.as_mut().map(WaitingRoom::empty).unwrap_or_default();
    return_all(left, &reception.shared.surroundings.stopping).await;
}

/// What there must be before anything can be taken.
#[derive(Clone, Copy)]
struct CanTake<'a> {
    slots: &'a Semaphore,
    pace: Option<&'a EndpointPace>,
}

impl CanTake<'_> {
    /// Ends when there is a slot, and the rate lets one more be taken. Answers how many slots there are. Nobody
    /// but the one receive loop takes any, so that they stay.
    async fn wait(self, at_once: u32) -> u32 {
        drop(self.slots.acquire().await);
        if let Some(pace) = self.pace {
            pace.wait().await;
        }
        at_once.min(u32::try_from(self.slots.available_permits()).unwrap_or(u32::MAX))
    }
}

impl Reception {
    /// Whether the order of the queue is kept here.
    fn keeps_order(&self) -> bool {
        self.source.spec.ordering != Ordering::None
            && !self.shared.capabilities.key_lock.is_native()
    }

    fn pace(&self) -> Option<Arc<EndpointPace>> {
        let clock = self.shared.surroundings.composer.clock.clone();
        let pace =
            |rate| EndpointPace { pace: Pace::of(rate, clock.clone()), clock, all: "".into() };
        self.protection.rate.map(pace).map(Arc::new)
    }

    fn waiting_room<D: Delivery>(&self) -> Option<WaitingRoom<D>> {
        let room = (!self.keeps_order()).then_some(Room::of(self.source.prefetch));
        WaitingRoom::of(self.protection.per_key, room, &self.shared, &self.at_work)
    }

    /// How many messages may be at work at once, each a batch of its own.
    fn at_once(&self) -> u32 {
        let slots = u32::try_from(self.concurrency).unwrap_or(u32::MAX);
        slots.min(self.source.prefetch)
    }
}

/// A new receiver, after a pause if the one before has failed, and when the breaker lets anything through;
/// `None` if the bus stops first.
async fn begin_again<T: Transport>(
    reception: &Reception,
    transport: &T,
    lanes: Option<&Arc<Lanes<<T::Receiver as Receiver>::Delivery>>>,
    waiting: &mut Option<WaitingRoom<<T::Receiver as Receiver>::Delivery>>,
    can_take: CanTake<'_>,
    gate: &mut Option<Gate>,
    broken: &mut u32,
) -> Option<T::Receiver> {
    let shared = &reception.shared;
    loop {
        let clock = &shared.surroundings.composer.clock;
        if *broken > 0 {
            let fraction = shared.surroundings.composer.entropy.fraction();
            let pause = pause_before_receiving_again(*broken, fraction);
            tokio::select! {
                biased;
                () = shared.surroundings.stopping.begun() => return None,
                () = clock.sleep_at_most_until(clock.now().after(pause)) => {}
            }
        }
        let mut source = reception.source.clone();
        if let Some(gate) = gate {
            if let Some(waiting) = waiting.as_mut().filter(|_| !gate.is_open_to_all()) {
                // The receiver may have failed, and the breaker has opened since.
                return_all(waiting.empty(), &shared.surroundings.stopping).await;
            }
            let can_take = can_take.wait(reception.at_once());
            gate.reopen(can_take, lanes, &shared.surroundings.stopping).await?;
            gate.narrow(&mut source);
        }
        let receiver = tokio::select! {
            biased;
            () = shared.surroundings.stopping.begun() => return None,
            receiver = transport.receiver(&source) => receiver,
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

/// Until when messages were taken.
enum Taken {
    /// The bus stops.
    UntilStopped,
    /// The circuit breaker has turned, or tries with others: this receiver takes nothing more.
    UntilShut,
}

/// What an endpoint hands its messages to.
struct Work<'a> {
    reception: &'a Reception,
    slots: &'a Arc<Semaphore>,
    gate: &'a Option<Gate>,
}

impl Work<'_> {
    /// Takes messages until the bus stops, the breaker turns, or the receiver fails.
    async fn take_all<R: Receiver>(
        &self,
        receiver: &mut Metered<R>,
        gatherer: &mut Option<Gatherer<R::Delivery>>,
        broken: &mut u32,
    ) -> Result<Taken> {
        let stopping = &self.reception.shared.surroundings.stopping;
        let mut stopped = pin!(stopping.begun());
        let taken = loop {
            // What is there is taken first: most of the time nobody needs to wait, nor to be told when the
            // bus stops while he does.
            let slot = tokio::select! {
                biased;
                slot = self.slots.clone().acquire_owned() => slot,
                () = &mut stopped => break Taken::UntilStopped,
                () = shut(self.gate) => break Taken::UntilShut,
                () = in_vain(self.gate) => break Taken::UntilShut,
            };
            let Ok(slot) = slot else { break Taken::UntilStopped };
            if stopping.has_begun() {
                break Taken::UntilStopped;
            }
            if let Some(gatherer) = gatherer.as_mut().filter(|gatherer| !gatherer.is_empty()) {
                self.start_batch(receiver, gatherer, None, slot).await?;
                continue;
            }
            let next = tokio::select! {
                biased;
                // Before what comes: what it has kept from running would look like a lane that is broken.
                () = shut(self.gate) => break Taken::UntilShut,
                next = next(receiver, self.gate) => next?,
                () = &mut stopped => break Taken::UntilStopped,
                () = in_vain(self.gate) => break Taken::UntilShut,
            };
            let Some(delivery) = next else {
                // Only `stop` may end a receiver. An endpoint that hears nothing more must not look
                // as if its queue was empty.
                let doing =
                    format!("receive from {}: the receiver ended", self.reception.source.queue);
                return Err(Error::new(ErrorKind::Unavailable, doing));
            };
            *broken = 0;
            match gatherer {
                None => self.start(delivery, slot),
                Some(gatherer) => {
                    self.start_batch(receiver, gatherer, Some(delivery), slot).await?;
                }
            }
        };
        let growing = gatherer.as_mut().map(Gatherer::let_go).unwrap_or_default();
        return_all(growing, stopping).await;
        receiver.give_back().await?;
        Ok(taken)
    }

    /// Hands a message to a task.
    fn start<D: Delivery>(&self, delivery: Placed<D>, slot: OwnedSemaphorePermit) {
        let (shared, pipeline) = (self.reception.shared.clone(), self.reception.pipeline.clone());
        // A task's future is moved several times before it runs, and this one takes more than a kilobyte:
        // in a box it is copied once.
        self.reception.at_work.spawn(Box::pin(process(shared, pipeline, delivery, slot)));
    }

    /// Hands the next batch to a task.
    ///
    /// # Errors
    /// The receiver failed while the batch was gathered; all that it delivered is at work.
    async fn start_batch<R: Receiver>(
        &self,
        receiver: &mut Metered<R>,
        gatherer: &mut Gatherer<R::Delivery>,
        first: Option<Placed<R::Delivery>>,
        slot: OwnedSemaphorePermit,
    ) -> Result<()> {
        let shared = &self.reception.shared;
        let gathered = gatherer.gather(shared, receiver, first, self.gate).await;
        let Some(Gathered { batch, error }) = gathered else { return Ok(()) };
        self.start_all(batch, slot);
        let Some(error) = error else { return Ok(()) };
        while let Some(batch) = gatherer.take_oldest() {
            // A drain waits for this, and slots become free in the end, because it drops what holds them.
            let Ok(slot) = self.slots.clone().acquire_owned().await else { break };
            self.start_all(batch, slot);
        }
        Err(error)
    }

    fn start_all<D: Delivery>(&self, batch: Vec<Placed<D>>, slot: OwnedSemaphorePermit) {
        let (shared, pipeline) = (self.reception.shared.clone(), self.reception.pipeline.clone());
        self.reception.at_work.spawn(process_batch(shared, pipeline, batch, slot));
    }
}
