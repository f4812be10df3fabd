//! What an application says about an endpoint. Faults are collected, and reported by `start()`.

use crate::bridge::{Bridge, Forward};
use crate::dead_letters::{DeadLetterReport, FailureReport, Hooks};
use crate::endpoint::gather::Gathering;
use crate::endpoint::protection::Protection;
use crate::endpoint::shared::{HeldTooLong, KeyOf, UnhandledPolicy};
use crate::endpoint::wishes::QueueWishes;
use crate::handler::{
    BatchHandler, BatchStep, Handler, HandlerStep, Requirements, Route, Router, Target, Versions,
};
use crate::pipeline::{BoxedLayer, Layer, Pipeline, Stack};
use crate::request::{RespondStep, Responder};
use crate::retry::{Retries, Retry};
use crate::{Failure, Message};
use std::any::TypeId;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::capabilities::Ordering;
use tramline_core::envelope::Envelope;
use tramline_core::filter::Filter;
use tramline_core::name::{QueueName, TopicName};
use tramline_core::topology::{QueueSpec, Rule};

/// A queue with its subscriptions, handlers and policies.
///
/// ```
/// use std::time::Duration;
/// use tramline::{Endpoint, Retry};
/// # use serde::{Deserialize, Serialize};
/// # use tramline::{Failure, Filter, Message};
/// # #[derive(Serialize, Deserialize)] struct OrderPlaced { total: String }
/// # impl Message for OrderPlaced { const NAME: &'static str = "orders.placed"; }
/// # async fn greet_vip(_: OrderPlaced) -> Result<(), Failure> { Ok(()) }
///
/// let vip = Endpoint::new("vip")
///     .subscribe_where::<OrderPlaced>(Filter::sql("total > 1000"))
///     .retry(Retry::fixed(Duration::from_secs(1)).runs(3))
///     .concurrency(4)
///     .handle(greet_vip);
/// ```
#[must_use = "an endpoint is given to the bus by `.endpoint(…)`"]
pub struct Endpoint {
    pub(crate) name: String,
    pub(crate) queue: Option<QueueName>,
    pub(crate) spec: Option<QueueSpec>,
    pub(crate) wishes: QueueWishes,
    pub(crate) subscriptions: Vec<(String, Rule)>,
    pub(crate) body: Body,
    pub(crate) behaviour: Behaviour,
    pub(crate) layers: Vec<BoxedLayer>,
    pub(crate) requirements: Vec<(&'static str, Requirements)>,
    pub(crate) versions: Versions,
    /// What is wrong and can be said already.
    pub(crate) problems: Vec<String>,
}

/// Who handles the messages.
pub(crate) enum Body {
    Single(Router),
    Batch { router: Router, step: Pipeline },
}

/// How the endpoint works.
pub(crate) struct Behaviour {
    pub(crate) retries: Retries,
    pub(crate) concurrency: usize,
    pub(crate) prefetch: Option<u32>,
    pub(crate) time_limit: Option<Duration>,
    /// For how long a bridge may wait for the other bus with one message.
    pub(crate) forwards_within: Option<Duration>,
    pub(crate) transactional: bool,
    pub(crate) unhandled: UnhandledPolicy,
    pub(crate) held_too_long: Option<HeldTooLong>,
    pub(crate) idempotency_key: Option<KeyOf>,
    /// How large batches are and how long they wait, as it was said.
    pub(crate) batch: Option<(usize, Duration)>,
    pub(crate) batch_per_key: bool,
    pub(crate) protection: Protection,
    pub(crate) hooks: Hooks,
}

/// How many handlers of one endpoint run at once, where it does not say.
const CONCURRENCY_DEFAULT: usize = 16;
/// How many may, whatever it says.
const CONCURRENCY_MAX: usize = 10_000;
/// How large batches are, where the endpoint does not say.
const BATCH_SIZE_DEFAULT: usize = 100;

impl Endpoint {
    /// An endpoint called `name`, on the queue of that name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            queue: None,
            spec: None,
            wishes: QueueWishes::default(),
            subscriptions: Vec::new(),
            body: Body::Single(Router::default()),
            behaviour: Behaviour {
                retries: Retries::default(),
                concurrency: CONCURRENCY_DEFAULT,
                prefetch: None,
                time_limit: None,
                forwards_within: None,
                transactional: false,
                unhandled: UnhandledPolicy::default(),
                held_too_long: None,
                idempotency_key: None,
                batch: None,
                batch_per_key: false,
                protection: Protection::default(),
                hooks: Hooks::default(),
            },
            layers: Vec::new(),
            requirements: Vec::new(),
            versions: Versions::default(),
            problems: Vec::new(),
        }
    }

    /// Reads another queue than the one of its name; a foreign name is taken as it is.
    pub fn queue(mut self, queue: QueueName) -> Self {
        self.queue = Some(queue);
        self
    }

    /// What is asked of the queue beyond its name: priorities and the like.
    pub fn queue_spec(mut self, spec: QueueSpec) -> Self {
        self.queue = Some(spec.name.clone());
        self.spec = Some(spec);
        self
    }

    /// Which order the queue keeps; none if not said. With [`Ordering::PerKey`] messages of one key
    /// are handled one after the other, in all processes, and a retry holds up what is behind it of
    /// its key and nothing else; messages without a key are not ordered.
    pub fn ordering(mut self, ordering: Ordering) -> Self {
        self.wishes.ordering = Some(ordering);
        self
    }

    /// The queue hands out messages of higher priority first, and tells apart priorities up to
    /// `max`; first in, first out if not said.
    pub fn priorities(mut self, max: u8) -> Self {
        self.wishes.priority_max = Some(max);
        self
    }

    /// The queue holds at most so many messages: then publishing and sending to it are refused. No
    /// bound if not said. What counts says the transport's capability `length_max`.
    pub fn length_max(mut self, messages: u64) -> Self {
        self.wishes.length_max = Some(messages);
        self
    }

    /// The queue drops a message that was sent to it before within `window`. It is known by the
    /// sender's idempotency key, else by its id. Retries and redrives are never dropped.
    pub fn dedup_window(mut self, window: Duration) -> Self {
        self.wishes.dedup_window = Some(window);
        self
    }

    /// The queue has one message of a key at a time: what is sent under a key ([`Draft::key`](crate::Draft::key))
    /// while another one of that key waits in the queue or is being handled is dropped, and its sender is told that it
    /// is there. For work that is to be done once however often it is asked for: "build the index of shop 7".
    ///
    /// A key is free again when its message was handled, is a dead letter or was purged; a message that waits for its
    /// time or for a retry holds it. Messages without a key are never dropped, and neither are retries and redrives.
    /// What changes while a handler runs is not seen by that run, and asking for another one then is dropped: where
    /// that matters, let the handler read what is to be done as late as it can, or order messages by key instead. A
    /// handler that asks for its own work again is still running; in a transactional endpoint its message leaves in the
    /// same moment, and the new one is let in.
    ///
    /// RabbitMQ does not offer it (capability `unique`).
    ///
    /// ```
    /// # use tramline::{Endpoint, Message};
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct BuildIndex { shop: u32 }
    /// # impl Message for BuildIndex { const NAME: &'static str = "shops.build-index"; }
    /// async fn build_index(index: BuildIndex) {
    ///     println!("the index of shop {} is built", index.shop);
    /// }
    ///
    /// let endpoint = Endpoint::new("search-index").unique().handle(build_index);
    /// ```
    pub fn unique(mut self) -> Self {
        self.wishes.unique = true;
        self
    }

    /// Handled messages stay to be looked at for so long; not at all if not said.
    pub fn keep_completed(mut self, duration: Duration) -> Self {
        self.wishes.keep_completed = Some(duration);
        self
    }

    /// Dead letters stay for so long; until somebody redrives or purges them if not said.
    pub fn keep_dead(mut self, duration: Duration) -> Self {
        self.wishes.keep_dead = Some(duration);
        self
    }

    /// The queue is this process's own and gone with it: for a subscriber that only wants events
    /// while it lives. What is published meanwhile elsewhere, or while the connection is lost, it
    /// does not get. Needs the capability `temporary_queues`.
    pub fn temporary(mut self) -> Self {
        self.wishes.temporary = true;
        self
    }

    /// An argument of the queue that only one kind of broker understands, such as `x-queue-mode` =
    /// `lazy` on RabbitMQ; a transport refuses those that it does not know.
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.wishes.arguments.insert(name.into(), value.into());
        self
    }

    /// Gets a copy of every `M` that is published.
    pub fn subscribe<M: Message>(self) -> Self {
        self.subscribe_where::<M>(Filter::All)
    }

    /// Gets a copy of every `M` that is published and passes `filter`.
    pub fn subscribe_where<M: Message>(self, filter: Filter) -> Self {
        self.subscribe_to(M::topic(), M::NAME, filter)
    }

    /// Gets a copy of everything on `topic` whose subject matches the pattern `subject` and which
    /// passes `filter`.
    pub fn subscribe_to(
        mut self,
        topic: impl Into<String>,
        subject: impl Into<String>,
        filter: Filter,
    ) -> Self {
        self.subscriptions.push((topic.into(), Rule { subject: subject.into(), filter }));
        self
    }

    /// The retry policy; [`Retry::default`] if none is given.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.behaviour.retries.default = retry;
        self
    }

    /// The retry policy for failures with an error of type `E` in their chain. The first policy
    /// that is meant for an error counts.
    pub fn retry_on<E: std::error::Error + 'static>(self, retry: Retry) -> Self {
        self.retry_when(|failure| failure.find::<E>().is_some(), retry)
    }

    /// The retry policy for failures that `test` accepts.
    pub fn retry_when(
        mut self,
        test: impl Fn(&Failure) -> bool + Send + Sync + 'static,
        retry: Retry,
    ) -> Self {
        self.behaviour.retries.when(test, retry);
        self
    }

    /// How many handlers run at once in this process; 16 if not said, at least 1 and at most
    /// 10,000.
    pub fn concurrency(mut self, handlers: usize) -> Self {
        self.behaviour.concurrency = handlers.clamp(1, CONCURRENCY_MAX);
        self
    }

    /// How many messages this process may hold unsettled. If not said, twice the concurrency and at
    /// least 100, and on transports that take many at once up to 2,000 while they are handled
    /// quickly.
    pub fn prefetch(mut self, messages: u32) -> Self {
        self.behaviour.prefetch = Some(messages.max(1));
        self
    }

    /// How long one run may take, the commit included; then it is dropped and counts as failed.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.behaviour.time_limit = Some(limit);
        self
    }

    /// Handler's writes, published messages and, where store and transport are one database, the
    /// ack are one transaction; else an inbox row is, so that effects happen once.
    pub fn transactional(mut self) -> Self {
        self.behaviour.transactional = true;
        self
    }

    /// For how long a message of an unknown type or newer version waits, 15 minutes if not said,
    /// and how often it is looked at, 10 seconds if not said.
    pub fn unhandled_after(mut self, limit: Duration, pause: Duration) -> Self {
        self.behaviour.unhandled = UnhandledPolicy { limit, pause };
        self
    }

    /// What becomes of a message in an ordered queue that would have to pause for longer than the
    /// broker lets it stay unsettled (capability `hold_max`). Where that can happen, `start()` asks
    /// for an answer. Brokers that lock keys (capability `key_lock`) never ask.
    pub fn when_held_too_long(mut self, then: HeldTooLong) -> Self {
        self.behaviour.held_too_long = Some(then);
        self
    }

    /// Derives an idempotency key for messages whose sender set none.
    pub fn idempotency_key(
        mut self,
        key_of: impl Fn(&Envelope) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.behaviour.idempotency_key = Some(Arc::new(key_of));
        self
    }

    /// How large batches are, 100 if not said, and how long one waits for more when it is not
    /// full, not at all if not said. For endpoints with a batch handler; no batch is of 0 messages.
    pub fn batch(mut self, size_max: usize, wait: Duration) -> Self {
        self.behaviour.batch = Some((size_max, wait));
        self
    }

    /// A batch holds messages of one key only, or messages that have none, in the order in which they came.
    /// Batches of several keys grow at once; what grows is unsettled, so the prefetch bounds it: when nothing more can
    /// come, the oldest goes at once.
    ///
    /// In a queue with an order a key is locked by the message that is out: a batch is of one message there, and waits
    /// in vain for more.
    pub fn batch_per_key(mut self) -> Self {
        self.behaviour.batch_per_key = true;
        self
    }

    /// Puts `layer` around the handlers, inside of the layers that were added before.
    pub fn layer<L: Layer>(mut self, layer: L) -> Self {
        self.layers.push(Box::new(move |inner: Pipeline| Arc::new(Stack::new(layer, inner))));
        self
    }

    /// Told of every failed run, before the message is settled.
    pub fn on_failure(mut self, hook: impl Fn(&FailureReport<'_>) + Send + Sync + 'static) -> Self {
        self.behaviour.hooks.on_failure(hook);
        self
    }

    /// Told of every message that went to the dead-letter queue, after it did.
    pub fn on_dead_letter<F: Future<Output = ()> + Send + 'static>(
        mut self,
        hook: impl Fn(DeadLetterReport) -> F + Send + Sync + 'static,
    ) -> Self {
        self.behaviour.hooks.on_dead_letter(hook);
        self
    }

    /// Handles the message that `handler` takes. An endpoint may have one handler for each of
    /// several messages.
    pub fn handle<H: Handler<Args>, Args: 'static>(mut self, handler: H) -> Self {
        let name = H::Message::NAME;
        self.require(name, |requirements| H::requires(requirements));
        let step: Pipeline = Arc::new(HandlerStep::new(handler));
        let takes = Target::of::<H::Message>();
        self.route(name, Route { step, takes, responds: false })
    }

    /// Answers the request that `responder` takes, as a handler of it whose reply goes to whoever has asked
    /// ([`Bus::request`](crate::Bus::request)). The reply leaves with what the responder publishes, all of it or
    /// nothing: in a transactional endpoint with the transaction, else after its success, at least once. If the
    /// request becomes a dead letter, the requester is told what kind of failure it was, and the words of a
    /// [`Failure::rejected`], nothing else.
    pub fn respond<H: Responder<Args>, Args: 'static>(mut self, responder: H) -> Self {
        let name = <H::Request as Message>::NAME;
        self.require(name, |requirements| H::requires(requirements));
        let step: Pipeline = Arc::new(RespondStep::new(responder));
        let takes = Target::of::<H::Request>();
        self.route(name, Route { step, takes, responds: true })
    }

    fn route(mut self, name: &'static str, route: Route) -> Self {
        match &mut self.body {
            Body::Single(router) if router.takes_all() => {
                self.problems.push(format!(
                    "a bridge is the endpoint's only handler, and {name} is one more"
                ));
            }
            Body::Single(router) => {
                if router.add(name, route) {
                    self.problems.push(format!("two handlers for message {name}"));
                }
            }
            Body::Batch { .. } => self.problems.push(mixed(name)),
        }
        self
    }

    /// Handles the message that `handler` takes, many at once. It is then the endpoint's only
    /// handler.
    pub fn handle_batch<H: BatchHandler<Args>, Args: 'static>(mut self, handler: H) -> Self {
        let name = H::Message::NAME;
        self.require(name, |requirements| H::requires(requirements));
        let requirements = self.requirements.last().map(|(_, requirements)| requirements);
        for what in requirements.into_iter().flat_map(|requirements| requirements.single.clone()) {
            self.problems.push(format!("the batch handler for {name} cannot ask for {what}"));
        }
        let taken = match &self.body {
            Body::Single(router) => !router.is_empty(),
            Body::Batch { .. } => true,
        };
        if taken {
            self.problems.push(mixed(name));
        }
        let step: Pipeline = Arc::new(BatchStep::new(handler));
        let mut router = Router::default();
        let takes = Target::of::<H::Message>();
        router.add(name, Route { step: step.clone(), takes, responds: false });
        self.body = Body::Batch { router, step };
        self
    }

    /// Forwards every message of the queue to another bus, whatever its type, as [`Bridge`] says. It is then the
    /// endpoint's only handler.
    pub fn bridge(mut self, bridge: Bridge) -> Self {
        if !self.router().is_empty() {
            self.problems
                .push("a bridge is the endpoint's only handler, and there is another".to_owned());
        }
        self.behaviour.forwards_within = Some(bridge.waits());
        match bridge.forward() {
            Ok(forward) => {
                let takes =
                    Target { name: "all", version: u32::MAX, type_id: TypeId::of::<Forward>() };
                // Who has asked is told that a request does not cross.
                let route = Route { step: Arc::new(forward), takes, responds: true };
                self.body = Body::Single(Router::of_all(route));
            }
            Err(bad) => self.problems.push(bad.to_string()),
        }
        self
    }

    /// Reads bodies of the version of `Old` too: as `Old`, made into a `New` by `upcast`. Both have
    /// one name, and `New` is what a handler takes, or what another upcast begins with. A body that
    /// cannot be read as `Old` is dead-lettered as undecodable.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use tramline::{Endpoint, Message};
    /// #[derive(Serialize, Deserialize)]
    /// struct PlacedV1 { cents: u64 }
    /// impl Message for PlacedV1 { const NAME: &'static str = "orders.placed"; }
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Placed { cents: u64, currency: String }
    /// impl Message for Placed {
    ///     const NAME: &'static str = "orders.placed";
    ///     const VERSION: u32 = 2;
    /// }
    ///
    /// async fn charge(_: Placed) {}
    ///
    /// let endpoint = Endpoint::new("payment")
    ///     .upcast(|old: PlacedV1| Placed { cents: old.cents, currency: "EUR".to_owned() })
    ///     .handle(charge);
    /// ```
    pub fn upcast<Old: Message, New: Message>(
        mut self,
        upcast: impl Fn(Old) -> New + Send + Sync + 'static,
    ) -> Self {
        self.versions.add(upcast);
        self
    }

    fn require(&mut self, message: &'static str, fill: impl FnOnce(&mut Requirements)) {
        let mut requirements = Requirements::default();
        fill(&mut requirements);
        self.requirements.push((message, requirements));
    }

    pub(crate) fn router(&self) -> &Router {
        match &self.body {
            Body::Single(router) | Body::Batch { router, .. } => router,
        }
    }

    /// The topics that it subscribes to, with the rules for each; bad names are reported.
    pub(crate) fn rules(&self, problems: &mut Vec<String>) -> Vec<(TopicName, Vec<Rule>)> {
        let mut topics: Vec<(TopicName, Vec<Rule>)> = Vec::new();
        for (topic, rule) in &self.subscriptions {
            match TopicName::new(topic) {
                Err(bad) => problems.push(bad.to_string()),
                Ok(topic) => match topics.iter_mut().find(|(known, _)| *known == topic) {
                    Some((_, rules)) => rules.push(rule.clone()),
                    None => topics.push((topic, vec![rule.clone()])),
                },
            }
        }
        topics
    }
}

fn mixed(name: &str) -> String {
    format!("a batch handler is the endpoint's only handler, and {name} is one more")
}

impl Behaviour {
    pub(crate) fn gathering(&self) -> Gathering {
        let (size_max, wait) = self.batch.unwrap_or((BATCH_SIZE_DEFAULT, Duration::ZERO));
        Gathering { size_max: size_max.max(1), wait, per_key: self.batch_per_key }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handles: Vec<_> = self.router().names().collect();
        f.debug_struct("Endpoint")
            .field("name", &self.name)
            .field("handles", &handles)
            .finish_non_exhaustive()
    }
}
