//! Handlers of many messages at once.

use crate::handler::extract::{FromContext, Requirements};
use crate::handler::handler::IntoOutcome;
use crate::pipeline::{Context, Incoming, Outcome, Page, Step};
use crate::{Failure, Message, MessageId};
use parking_lot::Mutex;
use std::marker::PhantomData;
use tramline_core::compose::{Parent, Publishing, Scope, Target};
use tramline_core::draft::IntoDraft;
use tramline_core::name::QueueName;

/// One message of a batch.
pub struct Item<M> {
    /// The message.
    pub message: M,
    /// Its id.
    pub id: MessageId,
    /// Which run of this message it is: its failures + 1.
    pub attempt: u32,
    scope: Scope,
    page: Page,
    ordinal: Mutex<u32>,
}

impl<M> Item<M> {
    /// Publishes an event that this item causes. It leaves with the batch's transaction, or after
    /// the handler's success where there is none.
    ///
    /// # Errors
    /// A permanent failure: the event cannot be encoded, a name or header is not allowed, or the
    /// run has ended.
    pub fn publish<'a>(&self, draft: impl IntoDraft<'a>) -> Result<(), Failure> {
        self.push(draft, Target::Subscribers)
    }

    /// Sends a command that this item causes to exactly one queue.
    ///
    /// # Errors
    /// As [`Item::publish`], and for a bad queue name.
    pub fn send<'a>(&self, queue: &str, draft: impl IntoDraft<'a>) -> Result<(), Failure> {
        let queue = QueueName::new(queue).map_err(Failure::permanent)?;
        self.push(draft, Target::Queue(queue))
    }

    /// Publishes what this item causes to an exchange that this bus does not own, as
    /// [`Bus::publish_to_exchange`](crate::Bus::publish_to_exchange) does.
    ///
    /// # Errors
    /// As [`Item::publish`].
    pub fn publish_to_exchange<'a>(
        &self,
        exchange: impl Into<String>,
        routing_key: impl Into<String>,
        draft: impl IntoDraft<'a>,
    ) -> Result<(), Failure> {
        let (exchange, routing_key) = (exchange.into(), routing_key.into());
        self.push(draft, Target::Foreign { exchange, routing_key })
    }

    fn push<'a>(&self, draft: impl IntoDraft<'a>, target: Target) -> Result<(), Failure> {
        let mut outgoing = self.scope.compose(draft, target)?;
        // Counted for each item, so that ids do not depend on who else is in the batch.
        self.scope.number(&mut outgoing, &mut self.ordinal.lock());
        self.page.push(outgoing)
    }
}

impl<M: std::fmt::Debug> std::fmt::Debug for Item<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Item")
            .field("id", &self.id)
            .field("attempt", &self.attempt)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

/// An async function that handles a batch: `async fn(items: Vec<Item<M>>, …extractors)`.
///
/// If it fails, the batch is halved at once and each half tried by itself, until the message that
/// it fails with is alone.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a batch handler",
    note = "write `async fn(items: Vec<Item<M>>, …extractors) -> Result<(), Failure>`: the batch \
            first, then up to four extractors",
    note = "if it looks like that: `M` must implement `Message`, the answer must be `()` or a \
            `Result<(), E>`, and what lives across an `.await` must be `Send`"
)]
pub trait BatchHandler<Args>: Send + Sync + 'static {
    /// What it handles.
    type Message: Message;

    /// Handles `items`, of which there is at least one.
    fn call(
        &self,
        items: Vec<Item<Self::Message>>,
        cx: &mut Context,
    ) -> impl Future<Output = Outcome> + Send;

    /// What its extractors need, checked when the bus starts.
    fn requires(requirements: &mut Requirements);
}

macro_rules! batch_handler {
    ($($Arg:ident),*) => {
        impl<F, Fut, M, $($Arg,)*> BatchHandler<(M, $($Arg,)*)> for F
        where
            F: Fn(Vec<Item<M>>, $($Arg),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: IntoOutcome> + Send,
            M: Message,
            $($Arg: FromContext,)*
        {
            type Message = M;

            #[allow(non_snake_case, unused_variables, reason = "one name for each extractor")]
            async fn call(&self, items: Vec<Item<M>>, cx: &mut Context) -> Outcome {
                $(let $Arg = $Arg::from_context(cx).await?;)*
                self(items, $($Arg),*).await.into_outcome()
            }

            #[allow(unused_variables, reason = "there may be no extractor")]
            fn requires(requirements: &mut Requirements) {
                $($Arg::requires(requirements);)*
            }
        }
    };
}

batch_handler!();
batch_handler!(A);
batch_handler!(A, B);
batch_handler!(A, B, C);
batch_handler!(A, B, C, D);

/// Decodes the batch and calls the handler.
pub(crate) struct BatchStep<H, Args>(H, PhantomData<fn() -> Args>);

impl<H, Args> BatchStep<H, Args> {
    pub(crate) fn new(handler: H) -> Self {
        Self(handler, PhantomData)
    }
}

impl<H: BatchHandler<Args>, Args: 'static> Step for BatchStep<H, Args> {
    async fn run(&self, cx: &mut Context) -> Outcome {
        let page = cx.buffer.page();
        let items = cx.messages().map(|message| item(cx, &page, message));
        let items = items.collect::<Result<_, _>>()?;
        self.0.call(items, cx).await
    }
}

fn item<M: Message>(cx: &Context, page: &Page, incoming: &Incoming) -> Result<Item<M>, Failure> {
    let composer = cx.surroundings.composer.clone();
    let parent = Parent {
        id: incoming.id.clone(),
        envelope: incoming.envelope.clone(),
        endpoint: cx.surroundings.identity.clone(),
    };
    Ok(Item {
        message: cx.surroundings.decode(&incoming.envelope)?,
        id: incoming.id.clone(),
        attempt: incoming.failures.saturating_add(1),
        scope: Scope { parent: Some(parent), ..Scope::outside(composer, Publishing::Outbox) },
        page: page.clone(),
        ordinal: Mutex::new(0),
    })
}
