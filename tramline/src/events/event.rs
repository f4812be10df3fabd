//! An event and who handles it.

use super::handler::{DynEventHandler, Erased, EventHandler, EventType, Forward};
use crate::Message;
use crate::handler::Requirements;
use std::any::{Any, TypeId};
use std::fmt;
use std::marker::PhantomData;

/// Those who handle the event `E`, and how. Given to a bus by [`BusBuilder::event`](crate::BusBuilder::event),
/// or to [`Events`](super::Events) without a bus.
///
/// Handlers run in the order in which they are named, one after the other, and the first that fails ends it,
/// unless [`concurrently`](Self::concurrently) and [`run_all`](Self::run_all) say otherwise.
#[must_use = "an event is given to the bus by `.event(…)`"]
pub struct Event<E> {
    handlers: Handlers<E>,
    requirements: Vec<(&'static str, Requirements)>,
    manner: Manner,
}

/// Those who handle an event, in order.
pub(super) type Handlers<E> = Vec<Box<dyn DynEventHandler<E>>>;

/// How the handlers of an event run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manner {
    pub(super) concurrently: bool,
    pub(super) all: bool,
}

impl<E: EventType> Event<E> {
    /// An event that nobody handles yet.
    pub fn new() -> Self {
        Self { handlers: Vec::new(), requirements: Vec::new(), manner: Manner::default() }
    }

    /// Has `handler` called for every event, behind those that were named before.
    pub fn handle<H: EventHandler<E, Args>, Args: 'static>(mut self, handler: H) -> Self {
        let mut requirements = Requirements::default();
        H::requires(&mut requirements);
        self.requirements.push((std::any::type_name::<H>(), requirements));
        self.handlers.push(Box::new(Erased(handler, PhantomData)));
        self
    }

    /// Has every event published on the bus too, as [`Outbox::publish`](crate::Outbox::publish) does: in the
    /// transaction at hand, else when all handlers have succeeded.
    pub fn forward(self) -> Self
    where
        E: Message,
    {
        self.handle::<_, ()>(Forward)
    }

    /// Its handlers run beside each other, in one task, and the caller waits for all. Not for those who ask
    /// for a transaction, which one at a time can work with: they are refused at start.
    pub fn concurrently(mut self) -> Self {
        self.manner.concurrently = true;
        self
    }

    /// All its handlers run, whatever becomes of those before them, and the failure names every one that has
    /// failed ([`EventFailures`](super::EventFailures)).
    pub fn run_all(mut self) -> Self {
        self.manner.all = true;
        self
    }

    pub(crate) fn declare(self) -> Declared {
        Declared {
            event: TypeId::of::<E>(),
            name: std::any::type_name::<E>(),
            is_handled: !self.handlers.is_empty(),
            handlers: Box::new(self.handlers),
            requirements: self.requirements,
            manner: self.manner,
        }
    }
}

impl<E: EventType> Default for Event<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> fmt::Debug for Event<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handlers: Vec<_> = self.requirements.iter().map(|(name, _)| *name).collect();
        f.debug_struct("Event")
            .field("event", &std::any::type_name::<E>())
            .field("handlers", &handlers)
            .field("manner", &self.manner)
            .finish()
    }
}

/// An event of whatever type, as it was declared.
pub(crate) struct Declared {
    pub(crate) event: TypeId,
    pub(crate) name: &'static str,
    pub(crate) is_handled: bool,
    /// Of type [`Handlers`].
    pub(super) handlers: Box<dyn Any + Send + Sync>,
    /// What each handler asks for.
    pub(crate) requirements: Vec<(&'static str, Requirements)>,
    pub(super) manner: Manner,
}
