//! A panic is a failure, wherever it happens.

use crate::Failure;
use futures_util::FutureExt;
use std::any::Any;
use std::panic::AssertUnwindSafe;

/// The outcome of `run`, whose panic is a failure.
///
/// What a panicking handler leaves half-done is thrown away by `Context::begin_run` or by
/// the end of the delivery, so nothing broken is seen again.
pub(crate) async fn caught(run: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
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
