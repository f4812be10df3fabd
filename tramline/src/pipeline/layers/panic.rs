//! A panic is a failure.

use crate::Failure;
use crate::pipeline::{Context, Layer, Outcome, Step};
use futures_util::FutureExt;
use std::any::Any;
use std::panic::AssertUnwindSafe;

/// Turns a panic of the handler into a retryable failure.
pub(crate) struct CatchPanic;

impl Layer for CatchPanic {
    async fn around<N: Step>(&self, cx: &mut Context, next: &N) -> Outcome {
        caught(next.run(cx)).await
    }
}

/// The outcome of `run`, whose panic is a failure.
///
/// What a panicking handler leaves half-done is thrown away by `Context::begin_run` or by
/// the end of the delivery, so nothing broken is seen again.
pub(crate) async fn caught(run: impl Future<Output = Outcome>) -> Outcome {
    match AssertUnwindSafe(run).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(payload) => Err(Failure::retryable(format!("panicked: {}", panic_text(&*payload)))),
    }
}

/// What a panic said.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}
