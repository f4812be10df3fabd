//! Code of users that panics: on the writer's thread it must not end the file for everybody.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `f`. A panic is answered with its text.
///
/// What `f` has borrowed may be left half done: whoever calls this throws it away or rolls it back.
pub(crate) fn caught<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        let text = text(&*payload);
        // Its `Drop` may panic too.
        std::mem::forget(payload);
        text
    })
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a text").to_owned()
}
