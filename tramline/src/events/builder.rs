//! Events without a bus, and what is checked of all events before they can be published.

use super::event::{Declared, Event};
use super::events::{Core, Events, Figures, Topic};
use super::handler::EventType;
use crate::handler::Maker;
use crate::pipeline::{States, Surroundings};
use crate::start::{Around, StartError, unmet};
use crate::stopping::Stopping;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tramline_core::clock::{Clock, Entropy, SystemClock, SystemEntropy};
use tramline_core::codec::Encoding;
use tramline_core::compose::Composer;
use tramline_core::erased::DynStore;

/// Collects events and what their handlers ask for, where there is no bus.
#[must_use = "events can be published when they are started"]
pub struct EventsBuilder {
    states: States,
    events: Vec<Declared>,
    problems: Vec<String>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Events {
    /// Events without a bus. With a bus they are given to that: [`BusBuilder::event`](crate::BusBuilder::event).
    pub fn builder() -> EventsBuilder {
        EventsBuilder {
            states: States::default(),
            events: Vec::new(),
            problems: Vec::new(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        }
    }
}

impl EventsBuilder {
    /// Adds an event with its handlers. One of each type.
    pub fn event<E: EventType>(mut self, event: Event<E>) -> Self {
        self.events.push(event.declare());
        self
    }

    /// Shares `state` with handlers, which ask for it by [`State<S>`](crate::State). One of each type.
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

    /// Takes the time from `clock`; the machine's own if not said.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Checks everything: the events can be published.
    ///
    /// # Errors
    /// [`StartError`] lists everything that is wrong: states that are not there, events without a handler or
    /// declared twice, handlers that ask for what only a bus has (an outbox, a transaction).
    pub fn start(self) -> Result<Events, StartError> {
        let mut problems = self.problems;
        for event in &self.events {
            for (handler, requirements) in &event.requirements {
                if requirements.publishes {
                    problems.push(format!(
                        "event {}: the handler {handler} publishes to a bus, and there is none: give the \
                         event to the bus, by `.event(…)`",
                        event.name
                    ));
                }
            }
        }
        check(&self.events, &self.states, &[], false, &mut problems);
        if !problems.is_empty() {
            return Err(StartError::of("the events", problems));
        }
        let composer =
            Composer { encoding: Encoding::Json, clock: self.clock, entropy: self.entropy };
        let (composer, states) = (Arc::new(composer), Arc::new(self.states));
        let (stopping, killed) = (Stopping::default(), CancellationToken::new());
        let surroundings = Surroundings::without_endpoint(composer, states, stopping, killed);
        Ok(Events::alone(Arc::new(core(surroundings, self.events, &[]))))
    }
}

/// What is wrong with `events` where these `states` and `stores` are registered.
pub(crate) fn check(
    events: &[Declared],
    states: &States,
    stores: &[Arc<dyn DynStore>],
    has_bus: bool,
    problems: &mut Vec<String>,
) {
    let mut known = HashSet::new();
    let mut asked = events.iter().flat_map(|event| &event.requirements);
    let writes = asked.any(|(_, asked)| !asked.transactions.is_empty());
    for event in events {
        let mut found = Vec::new();
        if !known.insert(event.event) {
            found.push("it is declared twice: name all its handlers in one place".to_owned());
        }
        if !event.is_handled {
            found.push("it has no handler".to_owned());
        }
        for (handler, requirements) in &event.requirements {
            found.extend(unmet(
                &format!("handler {handler}"),
                requirements,
                states,
                Around { bus: has_bus, events: true, plans: false },
            ));
            for (tx, name) in &requirements.transactions {
                let matching = stores.iter().filter(|store| store.tx_type() == *tx).count();
                if matching != 1 {
                    let several =
                        if matching == 0 { "no such store is" } else { "several such stores are" };
                    found.push(format!(
                        "the handler {handler} asks for Tx<{name}>, and {several} registered"
                    ));
                }
            }
        }
        let asked = event.requirements.iter().flat_map(|(_, asked)| &asked.transactions);
        let stores: HashSet<_> = asked.map(|(tx, _)| *tx).collect();
        if stores.len() > 1 {
            found.push("its handlers ask for transactions of two stores".to_owned());
        }
        if event.manner.concurrently && !stores.is_empty() {
            found.push(
                "its handlers run concurrently, and a transaction is for one at a time: leave \
                 `.concurrently()` away, or take the handler with the `Tx` out"
                    .to_owned(),
            );
        }
        let publishes = event.requirements.iter().any(|(_, asked)| asked.events);
        if event.manner.concurrently && publishes && writes {
            found.push(
                "its handlers run concurrently and publish events in turn, of which some work in a \
                 transaction, which is for one at a time: leave `.concurrently()` away"
                    .to_owned(),
            );
        }
        problems.extend(found.into_iter().map(|what| format!("event {}: {what}", event.name)));
    }
}

/// The events, checked, ready to be published.
pub(crate) fn core(
    surroundings: Surroundings,
    events: Vec<Declared>,
    stores: &[Arc<dyn DynStore>],
) -> Core {
    let mut topics = HashMap::with_capacity(events.len());
    for Declared { event, name, handlers, requirements, manner, .. } in events {
        let mut asked = requirements.iter().flat_map(|(_, asked)| &asked.transactions);
        let store =
            asked.next().and_then(|(tx, _)| stores.iter().find(|store| store.tx_type() == *tx));
        let (store, figures) = (store.cloned(), Figures::of(name));
        topics.insert(event, Topic { name, handlers, manner, store, figures });
    }
    Core::new(Arc::new(surroundings), topics)
}

impl fmt::Debug for EventsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events: Vec<_> = self.events.iter().map(|event| event.name).collect();
        f.debug_struct("EventsBuilder").field("events", &events).finish_non_exhaustive()
    }
}
