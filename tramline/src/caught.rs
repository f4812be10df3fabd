//! A panic is a failure, wherever it happens.

use crate::{Failure, pipeline::Outcome};
use futures_util::FutureExt;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The outcome of `run`, whose panic is a failure.
///
/// What a panicking handler leaves half-done is thrown away by `Context::begin_run` or by
/// the end of the delivery, so nothing broken is seen again.
///
/// No `async fn`: that would hold `run` twice, as its argument and as what it awaits, and every
/// message's task would be as large again at each place that catches.
pub(crate) fn caught(run: impl Future<Output = Outcome>) -> impl Future<Output = Outcome> {
    AssertUnwindSafe(run).catch_unwind().map(|ended| {
        ended.unwrap_or_else(|payload| {
            Err(Failure::retryable(format!("panicked: {}", panic_words(payload))))
        })
    })
}

/// What a panic said; what it carried is dropped, and may panic in turn.
pub(crate) fn panic_words(payload: Box<dyn Any + Send>) -> String {
    let words = panic_text(&*payload).to_owned();
    drop_caught(payload);
    words
}

/// Drops what is the user's. A panic in that is of no interest, and goes nowhere.
pub(crate) fn drop_caught<T>(theirs: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(theirs))) {
        // It might go on for ever.
        std::mem::forget(payload);
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
