//! Extractors: what a handler asks for beside its message.

use crate::Failure;
use crate::pipeline::Context;
use std::any::TypeId;

/// Something that a handler can take as an argument behind the message.
///
/// ```
/// use tramline::{Failure, handler::FromContext, pipeline::Context};
///
/// struct Tenant(String);
/// impl FromContext for Tenant {
///     async fn from_context(cx: &mut Context) -> Result<Self, Failure> {
///         let tenant = cx.envelope().headers.text("tenant");
///         Ok(Self(tenant.ok_or_else(|| Failure::permanent("no header `tenant`"))?.to_owned()))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a handler's argument",
    note = "the first argument is the message; the others implement `FromContext`: `State<T>`, \
            `Scoped<T>`, `Tx<S>`, `Outbox`, `Planner`, `Events`, `MessageId`, `Attempt`, `Headers`, `Cancel`, \
            or a type of yours"
)]
pub trait FromContext: Sized + Send {
    /// The value for the message at hand.
    ///
    /// # Errors
    /// The failure becomes the handler's.
    fn from_context(cx: &mut Context) -> impl Future<Output = Result<Self, Failure>> + Send;

    /// Says what must be there, so that `start()` can refuse what could never work.
    fn requires(requirements: &mut Requirements) {
        let _ = requirements;
    }
}

/// What the extractors of a handler need.
#[derive(Clone, Debug, Default)]
pub struct Requirements {
    pub(crate) states: Vec<(TypeId, &'static str)>,
    pub(crate) scopes: Vec<(TypeId, &'static str)>,
    pub(crate) transactions: Vec<(TypeId, &'static str)>,
    pub(crate) single: Vec<&'static str>,
    /// It publishes to a bus.
    pub(crate) publishes: bool,
    /// It publishes domain events.
    pub(crate) events: bool,
    /// It changes schedules.
    pub(crate) plans: bool,
}

impl Requirements {
    /// A state of type `T` must be registered by `.state(…)`.
    pub fn state<T: 'static>(&mut self) {
        self.states.push((TypeId::of::<T>(), std::any::type_name::<T>()));
    }

    /// Something that makes a `T` must be registered as an `S`.
    pub(crate) fn scope<S: 'static, T>(&mut self) {
        self.scopes.push((TypeId::of::<S>(), std::any::type_name::<T>()));
    }

    /// The endpoint must be transactional, on a store whose transactions are of type `T`.
    pub fn transaction<T: 'static>(&mut self, store: &'static str) {
        self.transactions.push((TypeId::of::<T>(), store));
    }

    /// There must be a bus.
    pub(crate) fn publishes(&mut self) {
        self.publishes = true;
    }

    /// Domain events must be declared.
    pub(crate) fn events(&mut self) {
        self.events = true;
    }

    /// There must be a transaction of the store that keeps the schedules.
    pub(crate) fn plans(&mut self) {
        self.plans = true;
    }

    /// `what` belongs to one message, so a batch handler cannot ask for it.
    pub fn single_message(&mut self, what: &'static str) {
        self.single.push(what);
    }
}
