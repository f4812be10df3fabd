//! What can handle a domain event: an async function of the event and up to six extractors.

use crate::handler::{FromContext, IntoOutcome, Requirements};
use crate::pipeline::{Context, Outcome};
use crate::{BoxFuture, Message, Outbox};
use std::marker::PhantomData;

/// What domain events are: any type that can be shared and cloned, once for each handler.
pub trait EventType: Clone + Send + Sync + 'static {}

impl<E: Clone + Send + Sync + 'static> EventType for E {}

/// An async function that handles a domain event: the event first, then up to six of the extractors that
/// the bus's handlers have. Answers `()` or a `Result<(), E>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle the event `{E}`",
    note = "write `async fn(event: {E}, …extractors) -> Result<(), Failure>`: the event first, then up \
            to six extractors, each of which implements `FromContext`",
    note = "if it looks like that: the event must be `Clone + Send + Sync`, the answer must be `()` or a \
            `Result<(), E>`, and what lives across an `.await` must be `Send`"
)]
pub trait EventHandler<E, Args>: Send + Sync + 'static {
    /// Handles `event`.
    fn call(&self, event: E, cx: &mut Context) -> impl Future<Output = Outcome> + Send;

    /// What its extractors need, checked at start.
    fn requires(requirements: &mut Requirements);
}

macro_rules! event_handler {
    ($($Arg:ident),*) => {
        impl<F, Fut, E, $($Arg,)*> EventHandler<E, (E, $($Arg,)*)> for F
        where
            F: Fn(E, $($Arg),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: IntoOutcome> + Send,
            E: EventType,
            $($Arg: FromContext,)*
        {
            #[allow(non_snake_case, unused_variables, reason = "one name for each extractor")]
            async fn call(&self, event: E, cx: &mut Context) -> Outcome {
                $(let $Arg = $Arg::from_context(cx).await?;)*
                self(event, $($Arg),*).await.into_outcome()
            }

            #[allow(unused_variables, reason = "there may be no extractor")]
            fn requires(requirements: &mut Requirements) {
                $($Arg::requires(requirements);)*
            }
        }
    };
}

event_handler!();
event_handler!(A);
event_handler!(A, B);
event_handler!(A, B, C);
event_handler!(A, B, C, D);
event_handler!(A, B, C, D, G);
event_handler!(A, B, C, D, G, H);

/// Publishes the event on the bus.
pub(super) struct Forward;

impl<E: EventType + Message> EventHandler<E, ()> for Forward {
    async fn call(&self, event: E, cx: &mut Context) -> Outcome {
        Outbox::from_context(cx).await?.publish(&event)
    }

    fn requires(requirements: &mut Requirements) {
        Outbox::requires(requirements);
    }
}

/// A handler as an object.
pub(super) trait DynEventHandler<E>: Send + Sync + 'static {
    /// What errors call it.
    fn name(&self) -> &'static str;
    fn call_dyn<'a>(&'a self, event: E, cx: &'a mut Context) -> BoxFuture<'a, Outcome>;
}

/// A handler and the arguments by which it is one.
pub(super) struct Erased<H, Args>(pub(super) H, pub(super) PhantomData<fn() -> Args>);

impl<E: EventType, H: EventHandler<E, Args>, Args: 'static> DynEventHandler<E> for Erased<H, Args> {
    fn name(&self) -> &'static str {
        std::any::type_name::<H>()
    }
    fn call_dyn<'a>(&'a self, event: E, cx: &'a mut Context) -> BoxFuture<'a, Outcome> {
        Box::pin(self.0.call(event, cx))
    }
}
