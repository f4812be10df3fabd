//! Work that is brought along: an async closure.

use crate::handler::IntoOutcome;
use crate::pipeline::Outcome;
use crate::{BoxFuture, Cancel};
use std::fmt;

/// An async closure, to be run once.
pub struct Task(Box<dyn FnOnce(Cancel) -> BoxFuture<'static, Outcome> + Send>);

impl Task {
    /// A task of `run`, which answers `()` or a `Result<(), E>`.
    pub fn new<F, Fut>(run: F) -> Self
    where
        F: FnOnce(Cancel) -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        Self(Box::new(move |cancel| Box::pin(async move { run(cancel).await.into_outcome() })))
    }

    pub(super) async fn run(self, cancel: Cancel) -> Outcome {
        (self.0)(cancel).await
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Task")
    }
}
