//! What a run of the handlers has left behind is gone before the next one begins.

use crate::pipeline::{Context, Layer, Outcome, Step};

/// Inside of the user's layers, which may call the handler again or answer for its failure: a run
/// that failed leaves nothing in the transaction and publishes nothing, and a second run begins
/// with neither.
pub(crate) struct CleanSlate;

impl Layer for CleanSlate {
    async fn around<N: Step>(&self, cx: &mut Context, next: &N) -> Outcome {
        if cx.has_run {
            cx.start_over().await?;
        }
        cx.has_run = true;
        let outcome = next.run(cx).await;
        if outcome.is_err() {
            cx.start_over().await?;
        }
        outcome
    }
}
