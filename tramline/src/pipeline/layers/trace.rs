//! A span around each message, so that what a handler logs says which message it was.

use crate::pipeline::{Context, Layer, Outcome, Step};
use tracing::Instrument;

/// Opens the span `handle`.
pub(crate) struct Trace;

impl Layer for Trace {
    async fn around<N: Step>(&self, cx: &mut Context, next: &N) -> Outcome {
        let span = tracing::info_span!(
            "handle",
            endpoint = cx.endpoint(),
            message = cx.envelope().name.as_deref().unwrap_or_default(),
            id = %cx.message_id(),
            batch = cx.batch_len(),
        );
        next.run(cx).instrument(span).await
    }
}
