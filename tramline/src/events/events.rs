//! Publishing an event to those who handle it.

use super::event::{Declared, Handlers, Manner};
use super::failures::{EventFailure, EventFailures};
use super::handler::{DynEventHandler, EventType};
use super::raised::{Caller, Raised};
use crate::Failure;
use crate::bus::{Bus, publishing};
use crate::caught::caught;
use crate::handler::{FromContext, Requirements, Tx};
use crate::pipeline::{Context, Incoming, Loan, Page, States, Surroundings, not_given_back};
use crate::unit_of_work::unconditional;
use futures_util::future::{join_all, try_join_all};
use metrics::{Counter, Histogram};
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use tramline_core::compose::Scope;
use tramline_core::erased::DynStore;
use tramline_core::store::Store;
use tramline_core::transport::Outgoing;

/// How many events may cause each other, one inside of the other, before that is taken for an endless circle.
const DEPTH_MAX: u32 = 16;

/// Publishes domain events to their handlers, inside this process. Clones are the same.
///
/// Had from [`Bus::events`](crate::Bus::events), from [`EventsBuilder::start`](super::EventsBuilder::start)
/// without a bus, or as an argument of a handler: then what its events' handlers publish belongs to the
/// message at work, and they may ask for the endpoint's transaction.
#[derive(Clone)]
pub struct Events {
    core: Arc<Core>,
    at: At,
}

/// Who publishes.
#[derive(Clone)]
enum At {
    /// Anybody, and there is no bus.
    Alone,
    /// A caller outside of handlers.
    Bus(Bus),
    /// A handler.
    Handler(Arc<Caller>),
}

/// All events and their handlers.
pub(crate) struct Core {
    surroundings: Arc<Surroundings>,
    topics: HashMap<TypeId, Topic>,
}

/// An event and its handlers.
pub(super) struct Topic {
    pub(super) name: &'static str,
    /// Of type [`Handlers`].
    pub(super) handlers: Box<dyn Any + Send + Sync>,
    pub(super) manner: Manner,
    /// The handlers ask for a transaction of this store.
    pub(super) store: Option<Arc<dyn DynStore>>,
    pub(super) figures: Figures,
}

/// `tramline_events_total{event, outcome}` and `tramline_event_seconds{event}`.
pub(super) struct Figures {
    succeeded: Counter,
    failed: Counter,
    seconds: Histogram,
}

impl Figures {
    pub(super) fn of(event: &'static str) -> Self {
        let ended = |outcome: &'static str| {
            let name = "tramline_events_total";
            metrics::counter!(name, "event" => event, "outcome" => outcome)
        };
        Self {
            succeeded: ended("succeeded"),
            failed: ended("failed"),
            seconds: metrics::histogram!("tramline_event_seconds", "event" => event),
        }
    }
}

impl Core {
    pub(super) fn new(surroundings: Arc<Surroundings>, topics: HashMap<TypeId, Topic>) -> Self {
        Self { surroundings, topics }
    }
}

impl Bus {
    /// Publishes domain events, for callers outside of handlers; handlers take [`Events`] as an argument.
    /// What handlers of events publish on the bus in vain, because it is drained, is a failure.
    pub fn events(&self) -> Events {
        let core = self.inner().events.lock().clone();
        let none = || Arc::new(self.events_core(Vec::new(), Arc::default(), &[]));
        let core = core.unwrap_or_else(none);
        Events { core, at: At::Bus(self.clone()) }
    }

    pub(crate) fn events_core(
        &self,
        events: Vec<Declared>,
        states: Arc<States>,
        stores: &[Arc<dyn DynStore>],
    ) -> Core {
        let running = self.inner();
        let (stopping, killed) = (running.stopping.clone(), running.killed.clone());
        let composer = running.composer.clone();
        let surroundings = Surroundings::without_endpoint(composer, states, stopping, killed);
        super::core(surroundings, events, stores)
    }
}

impl Events {
    pub(super) fn alone(core: Arc<Core>) -> Self {
        Self { core, at: At::Alone }
    }

    /// Has `event` handled, and ends when it is.
    ///
    /// In a handler, all that the event's handlers publish leaves as if that handler had published it, and
    /// they may ask for its transaction. Outside of handlers, what they publish leaves when all of them have
    /// succeeded; if one of them asks for a transaction itself, all of that is one transaction of this event's
    /// own. Of an event whose handlers fail nothing leaves. Outside of handlers and of any transaction several
    /// messages may leave in part if the transport fails, which is an error, and none leaves if the process
    /// dies before they are sent: where that matters, publish in a transaction.
    ///
    /// Dropped, handlers are dropped where they are; a transaction that they were working with cannot be
    /// committed any more.
    ///
    /// # Errors
    /// A handler failed, or panicked, which is the same: see [`EventFailures`]. Nobody handles this event. A
    /// handler asks for a transaction, and the endpoint has none. What was published could not be sent, or
    /// the transaction not be committed.
    pub async fn publish<E: EventType>(&self, event: &E) -> Result<(), Failure> {
        if let At::Bus(bus) = &self.at
            && let Some(closed) = bus.closed()
        {
            return Err(Failure::retryable(closed));
        }
        let topic = self.topic::<E>()?;
        match &self.at {
            At::Handler(caller) => {
                if topic.store.is_some() && caller.loan.is_none() {
                    return Err(Failure::permanent(format!(
                        "failed to publish the event {}: its handlers ask for a transaction, and who \
                         publishes it works in none: make the endpoint `.transactional()`",
                        topic.name
                    )));
                }
                self.run(topic, event, caller.loan.as_ref(), |all| caller.page.extend(all)).await
            }
            At::Bus(bus) => match &topic.store {
                Some(store) => self.in_own_transaction(topic, event, bus, &**store).await,
                None => {
                    let messages = self.run(topic, event, None, Ok).await?;
                    bus.send_composed(messages).await
                }
            },
            At::Alone => self.run(topic, event, None, |_| Ok(())).await,
        }
    }

    /// As [`publish`](Self::publish), inside of `tx`: what the event's handlers write and publish is in it, and
    /// is there when it is committed. `tx` is a handler's, or was begun by [`Bus::begin`](crate::Bus::begin).
    ///
    /// A transaction that a handler has failed in, or was dropped in, or is still at work in, is not committed,
    /// whatever the caller makes of the error: half of its writes may be in it.
    ///
    /// # Errors
    /// As [`publish`](Self::publish); and if `tx` is a handler's and this is not.
    pub async fn publish_in<E: EventType, S: Store>(
        &self,
        tx: &mut Tx<S>,
        event: &E,
    ) -> Result<(), Failure> {
        let topic = self.topic::<E>()?;
        let page = match (&self.at, tx.page()) {
            (_, Some(page)) => page.clone(),
            (At::Handler(caller), None) => caller.page.clone(),
            (At::Bus(_) | At::Alone, None) => {
                return Err(Failure::permanent(format!(
                    "failed to publish the event {} in a handler's transaction: take `events: Events` as \
                     an argument of that handler",
                    topic.name
                )));
            }
        };
        let lent = tx.lend();
        self.run(topic, event, Some(lent.loan()), |all| page.extend(all)).await?;
        lent.end()
    }

    fn topic<E: EventType>(&self) -> Result<&Topic, Failure> {
        self.core.topics.get(&TypeId::of::<E>()).ok_or_else(|| {
            let name = std::any::type_name::<E>();
            Failure::permanent(format!(
                "failed to publish the event {name}: nobody handles it: add `.event(Event::<{name}>::new()…)`"
            ))
        })
    }

    /// Runs the handlers, and keeps what they have published before the transaction may be committed.
    async fn run<E: EventType, T>(
        &self,
        topic: &Topic,
        event: &E,
        loan: Option<&Loan>,
        keep: impl FnOnce(Vec<Outgoing>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Some(handlers) = topic.handlers.downcast_ref::<Handlers<E>>() else {
            return Err(Failure::permanent(format!(
                "{} has handlers of another event",
                topic.name
            )));
        };
        let origin = self.origin();
        if origin.raised.depth >= DEPTH_MAX {
            return Err(Failure::permanent(format!(
                "failed to publish the event {}: {DEPTH_MAX} events have caused each other, and it would \
                 be one more",
                topic.name
            )));
        }
        let clock = &self.core.surroundings.composer.clock;
        let began = clock.now();
        let at_work = loan.map(|loan| loan.begin(topic.name));
        let ended = run_all(topic, handlers, event, || origin.context(loan)).await;
        topic.figures.seconds.record(clock.now().since(began));
        if ended.is_ok() {
            topic.figures.succeeded.increment(1);
        } else {
            topic.figures.failed.increment(1);
        }
        let kept = keep(ended?)?;
        if let Some(at_work) = at_work {
            at_work.succeeded();
        }
        Ok(kept)
    }

    async fn in_own_transaction<E: EventType>(
        &self,
        topic: &Topic,
        event: &E,
        bus: &Bus,
        store: &dyn DynStore,
    ) -> Result<(), Failure> {
        let composer = self.core.surroundings.composer.clone();
        let mode = publishing(&*bus.inner().transport, &store.database_dyn());
        let begun = store.begin_dyn(Scope::outside(composer, mode)).await;
        let loan = Loan::of(begun.map_err(Failure::retryable)?);
        let messages = self.run(topic, event, Some(&loan), Ok).await?;
        let tx = loan.borrow().ok_or_else(not_given_back)?;
        let committed = store.commit_dyn(tx, Vec::new(), messages).await;
        unconditional(committed).inspect_err(|failure| {
            bus.inner().stopping.heed_failure(failure);
        })
    }

    fn origin(&self) -> Origin {
        match &self.at {
            At::Handler(caller) => Origin {
                surroundings: caller.surroundings.clone(),
                message: caller.message.clone(),
                raised: caller.raised.clone(),
            },
            At::Bus(_) | At::Alone => Origin {
                surroundings: self.core.surroundings.clone(),
                message: Incoming::of_nobody(&self.core.surroundings.composer),
                raised: Raised { core: self.core.clone(), by_message: false, depth: 0 },
            },
        }
    }
}

/// What the contexts of an event are made of.
struct Origin {
    surroundings: Arc<Surroundings>,
    message: Incoming,
    raised: Raised,
}

impl Origin {
    fn context(&self, loan: Option<&Loan>) -> Context {
        let mut cx = Context::new(self.surroundings.clone(), self.message.clone());
        cx.event = Some(self.raised.clone());
        cx.tx = loan.cloned();
        cx
    }
}

/// A context whose handlers work in vain unless they are said to have succeeded.
struct Working(Context);

impl Working {
    /// They have: what they have published.
    fn succeeded(mut self) -> Vec<Outgoing> {
        self.0.let_go();
        self.0.buffer.close()
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.end_run();
    }
}

/// Runs all handlers as the topic says: what they have published, in the order in which they were declared.
async fn run_all<E: EventType>(
    topic: &Topic,
    handlers: &Handlers<E>,
    event: &E,
    context: impl Fn() -> Context,
) -> Result<Vec<Outgoing>, Failure> {
    let failure = |failures| EventFailures::failure(topic.name, failures);
    let Manner { concurrently, all } = topic.manner;
    if !concurrently {
        let mut working = Working(context());
        let mut failures = Vec::new();
        for handler in handlers {
            if let Err(failed) = call(&**handler, event, &mut working.0).await {
                failures.push(failed);
                if !all {
                    break;
                }
            }
        }
        return if failures.is_empty() { Ok(working.succeeded()) } else { Err(failure(failures)) };
    }
    let calls = handlers.iter().map(async |handler| {
        let mut working = Working(context());
        call(&**handler, event, &mut working.0).await.map(|()| working.succeeded())
    });
    let published: Result<Vec<_>, _> = if all {
        let mut failures = Vec::new();
        let ended = join_all(calls).await.into_iter();
        let published =
            ended.filter_map(|ended| ended.map_err(|failed| failures.push(failed)).ok());
        let published = published.collect();
        if failures.is_empty() { Ok(published) } else { Err(failures) }
    } else {
        try_join_all(calls).await.map_err(|failed| vec![failed])
    };
    published.map(|published| published.into_iter().flatten().collect()).map_err(failure)
}

async fn call<E: EventType>(
    handler: &dyn DynEventHandler<E>,
    event: &E,
    cx: &mut Context,
) -> Result<(), EventFailure> {
    // The clone is the user's, too.
    let ended = caught(async { handler.call_dyn(event.clone(), cx).await }).await;
    ended.map_err(|failure| EventFailure { handler: handler.name(), failure })
}

impl FromContext for Events {
    async fn from_context(cx: &mut Context) -> Result<Self, Failure> {
        let Some(caller) = Caller::of(cx) else {
            let text = "no events are declared: add `.event(…)` to the bus";
            return Err(Failure::permanent(text));
        };
        Ok(Self { core: caller.raised.core.clone(), at: At::Handler(Arc::new(caller)) })
    }
    fn requires(requirements: &mut Requirements) {
        requirements.events();
        requirements.single_message("Events");
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events: Vec<_> = self.core.topics.values().map(|topic| topic.name).collect();
        f.debug_tuple("Events").field(&events).finish()
    }
}

impl Page {
    /// Adds what others have published for the run.
    fn extend(&self, messages: Vec<Outgoing>) -> Result<(), Failure> {
        messages.into_iter().try_for_each(|outgoing| self.push(outgoing))
    }
}
