//! From what an application says to a running bus: everything is checked first, and everything
//! that is wrong is reported at once.

mod check;
mod error;
mod keeping;
mod scheduling;

pub(crate) use check::{Around, unmet};
pub use error::StartError;

use crate::Message;
use crate::bus::{Bus, Running, publishing};
use crate::dead_letters::{DeadLetterReport, FailureReport, Hooks};
use crate::endpoint::{Body, Endpoint, EndpointPipeline, Reception, Shared, receive};
use crate::events::{Core, Declared, Event, EventType};
use crate::handler::Maker;
use crate::pipeline::layers::{
    Breaking, CatchPanic, CleanSlate, Metrics, RetryInPlace, TimeLimit, Trace, Transaction,
};
use crate::pipeline::{Pipeline, PoisonLane, Stack, States, Surroundings};
use crate::schedules::{Declared as RecurringDeclared, Recurring};
use crate::stopping::Stopping;
use crate::unrouted::Unrouted;
use check::Checked;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tramline_core::capabilities::Ordering;
use tramline_core::clock::{Clock, Entropy, SystemClock, SystemEntropy};
use tramline_core::codec::{Codec, Encoding};
use tramline_core::compose::{Composer, Publishing, Scope};
use tramline_core::erased::{DynSender, DynStore, DynTransport};
use tramline_core::transport::{Source, Transport};

/// For how long an inbox remembers, where the application does not say.
const INBOX_RETENTION_DEFAULT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How long a send may wait for the broker, where the application does not say.
const SEND_LIMIT_DEFAULT: Duration = Duration::from_secs(30);

impl Bus {
    /// A bus on the transport that `url` names: `memory:`, `sqlite:orders.db`.
    ///
    /// # Errors
    /// An unknown scheme, or the transport cannot be had; the error says what to do.
    #[cfg(any(feature = "memory", feature = "postgres", feature = "rabbitmq", feature = "sqlite"))]
    pub async fn connect(url: &str) -> tramline_core::Result<BusBuilder<Box<dyn DynTransport>>> {
        Ok(Self::builder(crate::drivers::connect(url).await?))
    }

    /// A bus on `transport`.
    pub fn builder<T: Transport>(transport: T) -> BusBuilder<T> {
        BusBuilder::new(transport)
    }
}

/// Collects what a bus is made of; [`BusBuilder::start`] checks and starts it.
#[must_use = "a bus runs when it is started"]
pub struct BusBuilder<T = Box<dyn DynTransport>> {
    transport: T,
    endpoints: Vec<Endpoint>,
    states: States,
    events: Vec<Declared>,
    stores: Vec<Arc<dyn DynStore>>,
    schedules: Option<Arc<dyn DynStore>>,
    recurring: Vec<RecurringDeclared>,
    published: Vec<&'static str>,
    /// What is wrong and can be said already.
    problems: Vec<String>,
    encoding: Encoding,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    hooks: Hooks,
    send_limit: Duration,
    inbox_retention: Duration,
    subscribers_required: bool,
    poison_lane: PoisonLane,
}

impl<T: Transport> BusBuilder<T> {
    pub(crate) fn new(transport: T) -> Self {
        Self {
            transport,
            endpoints: Vec::new(),
            states: States::default(),
            events: Vec::new(),
            stores: Vec::new(),
            schedules: None,
            recurring: Vec::new(),
            published: Vec::new(),
            problems: Vec::new(),
            encoding: Encoding::Json,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            hooks: Hooks::default(),
            send_limit: SEND_LIMIT_DEFAULT,
            inbox_retention: INBOX_RETENTION_DEFAULT,
            subscribers_required: false,
            poison_lane: PoisonLane::of_process(),
        }
    }

    /// Adds an endpoint.
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// Adds a domain event with its handlers, which run inside this process ([`crate::events`]). One of each
    /// type.
    pub fn event<E: EventType>(mut self, event: Event<E>) -> Self {
        self.events.push(event.declare());
        self
    }

    /// Shares `state` with handlers, which ask for it by `State<S>`. One of each type.
    pub fn state<S: Clone + Send + Sync + 'static>(mut self, state: S) -> Self {
        self.states.share(state, &mut self.problems);
        self
    }

    /// Has `make` called for each run of a handler that asks for [`Scoped<V>`](crate::Scoped). One for each type.
    pub fn scoped<V, F, Made, E>(mut self, make: F) -> Self
    where
        V: Send + 'static,
        F: Fn() -> Made + Send + Sync + 'static,
        Made: Future<Output = Result<V, E>> + Send + 'static,
        E: Into<crate::Failure>,
    {
        self.states.make(Maker::of(make), &mut self.problems);
        self
    }

    /// Adds a store, for transactional endpoints and for [`Bus::store`]. If it is on another
    /// database than the transport, a relay sends what is published in its transactions.
    pub fn store<S: tramline_core::store::Store>(mut self, store: S) -> Self {
        self.stores.push(Arc::new(store));
        self
    }

    /// Has `store` keep the schedules ([`crate::schedules`]), and this bus fire them: whatever is due there, whoever
    /// has scheduled it. Memory, SQLite and PostgreSQL keep schedules, with every transport. It may be one of the
    /// bus's other stores, or not. All buses that share it must be on one broker, because whoever looks first fires;
    /// and names are those of all of them.
    pub fn schedules<S: tramline_core::store::Store + Clone>(mut self, store: &S) -> Self {
        self.schedules = Some(Arc::new(store.clone()));
        self
    }

    /// Sends `message` again and again: one for each moment, however many instances declare it under this name on
    /// one store. Needs [`schedules`](Self::schedules).
    ///
    /// A rhythm that is another than the store has for the name counts from now on; then only instances that
    /// declare it so send anything, until none of them is left. What nobody declares any more is silent.
    ///
    /// The id of a message is made of the name and its moment, which is also in its header
    /// [`SCHEDULED_FOR`](crate::schedules::SCHEDULED_FOR).
    ///
    /// ```
    /// # use tramline::core::BoxError;
    /// # #[cfg(all(feature = "memory", feature = "cron"))]
    /// # async fn start() -> Result<(), BoxError> {
    /// # use serde::{Deserialize, Serialize};
    /// # use tramline::{Bus, Memory, Message};
    /// # #[derive(Serialize, Deserialize)] struct MakeReport;
    /// # impl Message for MakeReport { const NAME: &'static str = "reports.make"; }
    /// use tramline::{CatchUp, Recurring};
    ///
    /// let store = Memory::new();
    /// let nightly = Recurring::cron("0 3 * * *", "Europe/Berlin")?.after_downtime(CatchUp::Once);
    /// let bus = Bus::builder(store.clone())
    ///     .schedules(&store)
    ///     .recurring("nightly-report", nightly, MakeReport)
    ///     .start()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn recurring<M: Message>(
        mut self,
        name: impl Into<String>,
        recurring: Recurring,
        message: M,
    ) -> Self {
        self.recurring.push(RecurringDeclared::of(name.into(), recurring, message));
        self
    }

    /// Says that this process publishes `M`: its topic is declared before work is accepted.
    pub fn publishes<M: Message>(mut self) -> Self {
        self.published.push(M::topic());
        self
    }

    /// Writes and reads bodies in another format than JSON.
    pub fn codec(mut self, codec: impl Codec) -> Self {
        self.encoding = Encoding::Other(Arc::new(codec));
        self
    }

    /// Takes the time from `clock`; the machine's own if not said.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Makes ids and jitter from `entropy`; the machine's own if not said.
    pub fn entropy(mut self, entropy: impl Entropy) -> Self {
        self.entropy = Arc::new(entropy);
        self
    }

    /// Publishing an event that no queue has subscribed to is an error
    /// ([`ErrorKind::NotFound`](tramline_core::ErrorKind::NotFound)) where the transport says so; if
    /// this is not said, it is counted and warned of. What handlers publish leaves only after they
    /// have succeeded, so there it is counted and warned of in any case.
    pub fn require_subscribers(mut self) -> Self {
        self.subscribers_required = true;
        self
    }

    /// How long publishing and sending wait for the broker; 30 seconds if not said.
    pub fn send_limit(mut self, limit: Duration) -> Self {
        self.send_limit = limit;
        self
    }

    /// For how long inboxes remember what was handled; 7 days if not said. Must be longer than all
    /// pauses of any transactional endpoint's retry policy together.
    pub fn inbox_retention(mut self, retention: Duration) -> Self {
        self.inbox_retention = retention;
        self
    }

    /// Where messages that may kill the process are handled alone; all buses of a process share one
    /// if not said. For tests and simulations, in which each bus stands for a process.
    #[doc(hidden)]
    pub fn poison_lane(mut self, lane: PoisonLane) -> Self {
        self.poison_lane = lane;
        self
    }

    /// Told of every failed run of every endpoint, before the endpoint's own callback.
    pub fn on_failure(mut self, hook: impl Fn(&FailureReport<'_>) + Send + Sync + 'static) -> Self {
        self.hooks.on_failure(hook);
        self
    }

    /// Told of every message that went to a dead-letter queue.
    pub fn on_dead_letter<F: Future<Output = ()> + Send + 'static>(
        mut self,
        hook: impl Fn(DeadLetterReport) -> F + Send + Sync + 'static,
    ) -> Self {
        self.hooks.on_dead_letter(hook);
        self
    }

    /// Tests are told of every message that was handled.
    #[cfg(feature = "testing")]
    pub(crate) fn on_handled(
        mut self,
        hook: impl Fn(&tramline_core::name::QueueName, &Arc<tramline_core::envelope::Envelope>)
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.hooks.on_handled(hook);
        self
    }

    /// The stores that were added.
    #[cfg(feature = "testing")]
    pub(crate) fn stores(&self) -> &[Arc<dyn DynStore>] {
        &self.stores
    }

    /// Checks everything, declares queues, topics and subscriptions, and begins to receive.
    ///
    /// # Errors
    /// [`StartError`] lists everything that is wrong, not the first fault only. Nothing is
    /// declared then, unless it is the transport itself that failed.
    pub async fn start(mut self) -> Result<Bus, StartError> {
        let checked = check::check(&self)?;
        let transport = Arc::new(self.transport);
        let failed = |error: tramline_core::Error| StartError::of_transport(&error);
        transport.declare(&checked.topology).await.map_err(failed)?;
        let sender: Arc<dyn DynSender> = Arc::new(transport.sender().await.map_err(failed)?);
        let composer = Arc::new(Composer {
            encoding: self.encoding,
            clock: self.clock,
            entropy: self.entropy,
        });
        if let Some(store) = &self.schedules {
            let is_same = |other: &Arc<dyn DynStore>| other.database_dyn() == store.database_dyn();
            if !self.stores.iter().any(is_same) {
                self.stores.push(store.clone());
            }
        }
        let bus = Bus::running(Running {
            scope: Scope::outside(composer.clone(), Publishing::Queues),
            composer,
            transport: transport.clone(),
            sender,
            send_limit: self.send_limit,
            relayed: self.stores.iter().map(|store| store.database_dyn()).collect(),
            schedules: self.schedules,
            unrouted: Arc::new(Unrouted::new(self.subscribers_required)),
            stopping: Stopping::default(),
            killed: CancellationToken::new(),
            handlers: Default::default(),
            loops: TaskTracker::new(),
            at_work: TaskTracker::new(),
            events: Mutex::default(),
            replies: Default::default(),
        });
        self.states.insert(bus.clone());
        let states = Arc::new(self.states);
        let has_events = !self.events.is_empty();
        let events = bus.events_core(self.events, states.clone(), &self.stores);
        let events = has_events.then(|| Arc::new(events));
        let plan = Plan {
            bus: &bus,
            states,
            events: events.clone(),
            hooks: &self.hooks,
            poison_lane: &self.poison_lane,
        };
        let mut receptions = Vec::with_capacity(checked.endpoints.len());
        for (endpoint, checked) in self.endpoints.into_iter().zip(checked.endpoints) {
            let reception = plan.reception(endpoint, checked);
            // All receivers are there before any handler runs, so that a failure leaves no half.
            let receiver = transport.receiver(&reception.source).await.map_err(failed)?;
            receptions.push((reception, receiver));
        }
        *bus.inner().events.lock() = events;
        let endpoints: Vec<_> =
            receptions.iter().map(|(reception, _)| reception.shared.clone()).collect();
        for (reception, receiver) in receptions {
            bus.inner().loops.spawn(receive(reception, transport.clone(), receiver));
        }
        keeping::fire_schedules(&bus, self.recurring).await.map_err(failed)?;
        keeping::warn_of_orphans(&*transport, &endpoints).await;
        keeping::keep(&bus, self.stores, &endpoints, self.inbox_retention);
        Ok(bus)
    }
}

/// What every endpoint is built from.
struct Plan<'a> {
    bus: &'a Bus,
    states: Arc<States>,
    events: Option<Arc<Core>>,
    hooks: &'a Hooks,
    poison_lane: &'a PoisonLane,
}

impl Plan<'_> {
    fn reception(&self, endpoint: Endpoint, checked: Checked) -> Reception {
        let Endpoint { name, body, behaviour, layers, versions, .. } = endpoint;
        let running = self.bus.inner();
        let batch = matches!(body, Body::Batch { .. });
        let gathering = batch.then_some(behaviour.gathering());
        let router = match &body {
            Body::Single(router) | Body::Batch { router, .. } => router.clone(),
        };
        let queue = &checked.spec.name;
        let identity =
            if queue.as_str() == name { name.clone() } else { format!("{name}@{queue}") };
        let surroundings = Arc::new(Surroundings {
            name: name.into(),
            identity: identity.into(),
            composer: running.composer.clone(),
            states: self.states.clone(),
            events: self.events.clone(),
            versions,
            retries: behaviour.retries,
            hooks: self.hooks.and(&behaviour.hooks),
            stopping: running.stopping.clone(),
            killed: running.killed.clone(),
            handlers: running.handlers.clone(),
        });
        let protection = behaviour.protection;
        let breaker = protection.breaker.clone();
        if let Some(breaker) = &breaker {
            breaker.adopt(&running.composer.clock);
        }
        let shared = Arc::new(Shared {
            surroundings,
            queue: checked.spec.name.clone(),
            router,
            rules: checked.rules,
            capabilities: checked.capabilities,
            sender: running.sender.clone(),
            send_limit: running.send_limit,
            unrouted: running.unrouted.clone(),
            store: checked.store.clone(),
            in_flight: Default::default(),
            poison_lane: self.poison_lane.clone(),
            breaker: breaker.clone(),
            unhandled: behaviour.unhandled,
            held_too_long: behaviour.held_too_long,
            idempotency_key: behaviour.idempotency_key,
            hook_places: Arc::new(Semaphore::new(HOOKS_MAX)),
        });
        let transaction = checked.store.map(|store| Transaction {
            publishing: publishing(&*running.transport, &store.database_dyn()),
            store,
        });
        let layered = inner(body, layers);
        let concurrency = behaviour.concurrency;
        // Where runs are counted, each is taken from the queue.
        let in_place = !batch && !protection.counts_runs();
        let retry_in_place = in_place.then(|| RetryInPlace::new(concurrency, breaker.clone()));
        let limit = behaviour.time_limit.map(TimeLimit);
        let metrics = Metrics::new(&shared.surroundings.name, running.composer.clock.clone());
        let pipeline = Stack::new(CatchPanic, Stack::new(transaction, layered));
        let is_ordered = checked.spec.ordering != Ordering::None;
        let breaking = breaker.map(|breaker| Breaking::new(breaker, is_ordered));
        let pipeline = Stack::new(breaking, Stack::new(limit, pipeline));
        let pipeline = Stack::new(self.poison_lane.clone(), pipeline);
        let pipeline = Stack::new(retry_in_place, pipeline);
        let pipeline: EndpointPipeline = Stack::new(Trace, Stack::new(metrics, pipeline));
        let batch_size = gathering.map_or(1, |gathering| gathering.size_max);
        let held_max = protection.held_max(shared.capabilities.hold_max);
        let [prefetch, prefetch_max] =
            prefetch(behaviour.prefetch, concurrency, batch_size).map(|most| most.min(held_max));
        Reception {
            source: Source {
                spec: checked.spec.clone(),
                subscriptions: checked.subscriptions,
                prefetch_max,
                ..Source::of(tramline_core::name::QueueRef::Main(checked.spec.name), prefetch)
            },
            shared,
            pipeline: Arc::new(pipeline),
            concurrency,
            gathering,
            protection,
            at_work: running.at_work.clone(),
        }
    }
}

/// How many hooks for dead letters of one endpoint may be at work without holding a slot.
const HOOKS_MAX: usize = 256;

/// How many messages an endpoint may hold unsettled, and how many while they are handled quickly.
fn prefetch(said: Option<u32>, concurrency: usize, batch_size: usize) -> [u32; 2] {
    const MIN: usize = 100;
    const MAX: usize = 10_000;
    const QUICK: u32 = 2000;
    if let Some(said) = said {
        return [said, said];
    }
    let twice = concurrency.saturating_mul(batch_size).saturating_mul(2).clamp(MIN, MAX);
    let prefetch = u32::try_from(twice).unwrap_or(u32::MAX);
    [prefetch, prefetch.max(QUICK)]
}

/// The handlers inside of the user's layers, the first layer outermost.
fn inner(body: Body, layers: Vec<crate::pipeline::BoxedLayer>) -> crate::endpoint::Inner {
    use crate::endpoint::Inner;
    let step: Pipeline = match body {
        Body::Single(router) if layers.is_empty() => return Inner::Router(router),
        Body::Single(router) => Arc::new(Stack::new(CleanSlate, router)),
        Body::Batch { step, .. } if layers.is_empty() => step,
        Body::Batch { step, .. } => Arc::new(Stack::new(CleanSlate, step)),
    };
    Inner::Layered(layers.into_iter().rev().fold(step, |inner, layer| layer(inner)))
}

impl<T> fmt::Debug for BusBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusBuilder").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}
