//! What can answer a request: an async function of the request and up to eight extractors.

use super::Request;
use crate::handler::{FromContext, Requirements};
use crate::pipeline::{Context, Outcome, Step};
use crate::{Failure, outbox};
use std::marker::PhantomData;
use tramline_core::compose::Target;
use tramline_core::draft::Draft;

/// An async function that answers a request: `async fn(request: R, …extractors) -> Result<R::Reply, Failure>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not answer requests",
    note = "write `async fn(request: R, …extractors) -> Result<R::Reply, Failure>`: the request first, then \
            up to eight extractors, each of which implements `FromContext`",
    note = "if it looks like that: `R` must implement `Request`, the answer must be its `Reply` or a `Result` \
            of it, and what lives across an `.await` must be `Send`"
)]
pub trait Responder<Args>: Send + Sync + 'static {
    /// What it answers.
    type Request: Request;

    /// Answers `request`.
    fn call(
        &self,
        request: Self::Request,
        cx: &mut Context,
    ) -> impl Future<Output = Result<<Self::Request as Request>::Reply, Failure>> + Send;

    /// What its extractors need, checked at start.
    fn requires(requirements: &mut Requirements);
}

/// What a responder may answer: the reply, or a `Result` of it whose error becomes a [`Failure`].
#[diagnostic::on_unimplemented(
    message = "a responder cannot answer `{Self}`",
    note = "answer `{T}` or `Result<{T}, E>`, where `E` is `Failure` or any error"
)]
pub trait IntoReply<T> {
    /// The reply.
    ///
    /// # Errors
    /// There is none.
    fn into_reply(self) -> Result<T, Failure>;
}

impl<T> IntoReply<T> for T {
    fn into_reply(self) -> Result<T, Failure> {
        Ok(self)
    }
}

impl<T, E: Into<Failure>> IntoReply<T> for Result<T, E> {
    fn into_reply(self) -> Result<T, Failure> {
        self.map_err(Into::into)
    }
}

macro_rules! responder {
    ($($Arg:ident),*) => {
        impl<F, Fut, R, $($Arg,)*> Responder<(R, $($Arg,)*)> for F
        where
            F: Fn(R, $($Arg),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: IntoReply<R::Reply>> + Send,
            R: Request,
            $($Arg: FromContext,)*
        {
            type Request = R;

            #[allow(non_snake_case, unused_variables, reason = "one name for each extractor")]
            async fn call(&self, request: R, cx: &mut Context) -> Result<R::Reply, Failure> {
                $(let $Arg = $Arg::from_context(cx).await?;)*
                self(request, $($Arg),*).await.into_reply()
            }

            #[allow(unused_variables, reason = "there may be no extractor")]
            fn requires(requirements: &mut Requirements) {
                $($Arg::requires(requirements);)*
            }
        }
    };
}

responder!();
responder!(A);
responder!(A, B);
responder!(A, B, C);
responder!(A, B, C, D);
responder!(A, B, C, D, E);
responder!(A, B, C, D, E, G);
responder!(A, B, C, D, E, G, H);
responder!(A, B, C, D, E, G, H, I);

/// Decodes the request, calls the responder and puts its reply among what the run publishes: all of that leaves
/// together or not at all. Who does not say where to gets no reply.
pub(crate) struct RespondStep<H, Args>(H, PhantomData<fn() -> Args>);

impl<H, Args> RespondStep<H, Args> {
    pub(crate) fn new(responder: H) -> Self {
        Self(responder, PhantomData)
    }
}

impl<H: Responder<Args>, Args: 'static> Step for RespondStep<H, Args> {
    async fn run(&self, cx: &mut Context) -> Outcome {
        let request = cx.surroundings.decode(&cx.message.envelope)?;
        let reply = self.0.call(request, cx).await?;
        let Some(address) = cx.message.envelope.reply_to.clone() else { return Ok(()) };
        let scope = outbox::scope(cx);
        // It does not expire, as a dead letter in a queue of replies would be of use to nobody.
        let outgoing = scope.compose(Draft::of(&reply), Target::Address(address))?;
        cx.buffer.page().push(outgoing)
    }
}
