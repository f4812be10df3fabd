//! Handlers of many messages at once.

use crate::handler::batch_outcome::{BatchOutcome, IntoBatchOutcome};
use crate::handler::extract::{FromContext, Requirements};
use crate::handler::item::Item;
use crate::pipeline::{Context, Outcome, Step};
use crate::{Failure, Message};
use std::marker::PhantomData;

/// An async function that handles a batch: `async fn(items: Vec<Item<M>>, …extractors)`.
///
/// If it fails, the batch is halved at once and each half tried by itself, until the message that
/// it fails with is alone. A handler that knows which messages have failed answers a [`BatchOutcome`].
///
/// Messages that are the same (of one id, or of one idempotency key and body) are one item; when that is handled,
/// all of them are acked.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a batch handler",
    note = "write `async fn(items: Vec<Item<M>>, …extractors) -> Result<(), Failure>`: the batch \
            first, then up to four extractors",
    note = "if it looks like that: `M` must implement `Message`, the answer must be `()`, a \
            `BatchOutcome`, or a `Result` of either, and what lives across an `.await` must be `Send`"
)]
pub trait BatchHandler<Args>: Send + Sync + 'static {
    /// What it handles.
    type Message: Message;

    /// Handles `items`, of which there is at least one.
    fn call(
        &self,
        items: Vec<Item<Self::Message>>,
        cx: &mut Context,
    ) -> impl Future<Output = Result<BatchOutcome, Failure>> + Send;

    /// What its extractors need, checked when the bus starts.
    fn requires(requirements: &mut Requirements);
}

macro_rules! batch_handler {
    ($($Arg:ident),*) => {
        impl<F, Fut, M, $($Arg,)*> BatchHandler<(M, $($Arg,)*)> for F
        where
            F: Fn(Vec<Item<M>>, $($Arg),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: IntoBatchOutcome> + Send,
            M: Message,
            $($Arg: FromContext,)*
        {
            type Message = M;

            #[allow(non_snake_case, unused_variables, reason = "one name for each extractor")]
            async fn call(
                &self,
                items: Vec<Item<M>>,
                cx: &mut Context,
            ) -> Result<BatchOutcome, Failure> {
                $(let $Arg = $Arg::from_context(cx).await?;)*
                self(items, $($Arg),*).await.into_batch_outcome()
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
        cx.item_failures.clear();
        let page = cx.buffer.page();
        let of_message = |(index, message)| Item::of(cx, &page, index, message);
        let items = cx.messages().enumerate().map(of_message);
        let items: Vec<Item<H::Message>> = items.collect::<Result<_, _>>()?;
        let pens: Vec<_> = items.iter().map(Item::pen).collect();
        let mut failures = self.0.call(items, cx).await?.failures(pens.len())?;
        // Of one alone there is nothing to keep apart.
        if pens.len() == 1
            && let Some((_, failure)) = failures.pop_first()
        {
            return Err(failure);
        }
        let published = failures.keys().flat_map(|index| pens[*index].put_down());
        page.discard(published.collect());
        cx.item_failures = failures;
        Ok(())
    }
}
