//! What can handle a message: an async function of the message and up to eight extractors.

use crate::handler::extract::{FromContext, Requirements};
use crate::pipeline::{Context, Outcome, Step};
use crate::{Failure, Message};
use std::marker::PhantomData;

/// An async function that handles one message.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use tramline::{Attempt, Endpoint, Failure, Message, State};
///
/// #[derive(Serialize, Deserialize)]
/// struct Greet { name: String }
/// impl Message for Greet { const NAME: &'static str = "greet"; }
///
/// async fn greet(greet: Greet, State(word): State<String>, attempt: Attempt) -> Result<(), Failure> {
///     println!("{word}, {}! (run {})", greet.name, attempt.0);
///     Ok(())
/// }
/// let endpoint = Endpoint::new("greeter").handle(greet);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a message handler",
    note = "write `async fn(message: M, …extractors) -> Result<(), Failure>`: the message first, \
            then up to eight extractors, each of which implements `FromContext`",
    note = "if it looks like that: `M` must implement `Message`, the answer must be `()` or a \
            `Result<(), E>`, and what lives across an `.await` must be `Send`",
    note = "a handler of `Vec<Item<M>>` is given to `.handle_batch(…)`"
)]
pub trait Handler<Args>: Send + Sync + 'static {
    /// What it handles.
    type Message: Message;

    /// Handles `message`.
    fn call(
        &self,
        message: Self::Message,
        cx: &mut Context,
    ) -> impl Future<Output = Outcome> + Send;

    /// What its extractors need, checked when the bus starts.
    fn requires(requirements: &mut Requirements);
}

/// What a handler may answer: `()`, or a `Result<(), E>` whose error becomes a [`Failure`].
#[diagnostic::on_unimplemented(
    message = "a handler cannot answer `{Self}`",
    note = "answer `()` or `Result<(), E>`, where `E` is `Failure` or any error"
)]
pub trait IntoOutcome {
    /// The outcome.
    fn into_outcome(self) -> Outcome;
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Outcome {
        Ok(())
    }
}

impl<E: Into<Failure>> IntoOutcome for Result<(), E> {
    fn into_outcome(self) -> Outcome {
        self.map_err(Into::into)
    }
}

macro_rules! handler {
    ($($Arg:ident),*) => {
        impl<F, Fut, M, $($Arg,)*> Handler<(M, $($Arg,)*)> for F
        where
            F: Fn(M, $($Arg),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: IntoOutcome> + Send,
            M: Message,
            $($Arg: FromContext,)*
        {
            type Message = M;

            #[allow(non_snake_case, unused_variables, reason = "one name for each extractor")]
            async fn call(&self, message: M, cx: &mut Context) -> Outcome {
                $(let $Arg = $Arg::from_context(cx).await?;)*
                self(message, $($Arg),*).await.into_outcome()
            }

            #[allow(unused_variables, reason = "there may be no extractor")]
            fn requires(requirements: &mut Requirements) {
                $($Arg::requires(requirements);)*
            }
        }
    };
}

handler!();
handler!(A);
handler!(A, B);
handler!(A, B, C);
handler!(A, B, C, D);
handler!(A, B, C, D, E);
handler!(A, B, C, D, E, G);
handler!(A, B, C, D, E, G, H);
handler!(A, B, C, D, E, G, H, I);

/// Decodes the message and calls the handler.
pub(crate) struct HandlerStep<H, Args>(H, PhantomData<fn() -> Args>);

impl<H, Args> HandlerStep<H, Args> {
    pub(crate) fn new(handler: H) -> Self {
        Self(handler, PhantomData)
    }
}

impl<H: Handler<Args>, Args: 'static> Step for HandlerStep<H, Args> {
    async fn run(&self, cx: &mut Context) -> Outcome {
        let message = cx.surroundings.decode(&cx.message.envelope)?;
        self.0.call(message, cx).await
    }
}
