//! A panic of a handler is a failure.

use crate::caught::caught;
use crate::pipeline::{Context, Layer, Outcome, Step};

/// Turns a panic of the handler into a retryable failure.
pub(crate) struct CatchPanic;

impl Layer for CatchPanic {
    async fn around<N: Step>(&self, cx: &mut Context, next: &N) -> Outcome {
        caught(next.run(cx)).await
    }
}
