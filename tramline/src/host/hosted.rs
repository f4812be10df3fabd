//! A service, and what its host is to know of it.

use super::running::Running;
use crate::handler::IntoOutcome;
use crate::pipeline::Outcome;
use crate::{BoxFuture, Retry};
use std::fmt;
use std::sync::Arc;

/// Begins a service; called again when it is begun again.
pub(super) type Begin = Arc<dyn Fn(Running) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// A service of a [`Host`](super::Host): an async function that works until it is told to stop, or until it
/// has done what there is to do.
#[derive(Clone)]
pub struct Hosted {
    pub(super) name: String,
    pub(super) begin: Begin,
    pub(super) restart: Retry,
    pub(super) says_ready: bool,
}

impl Hosted {
    /// A service. A failure or a panic ends it for good, and the host with it, unless
    /// [`restart`](Self::restart) says otherwise.
    pub fn new<F, Fut>(name: impl Into<String>, run: F) -> Self
    where
        F: Fn(Running) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        let begin = move |running| -> BoxFuture<'static, Outcome> {
            let ran = run(running);
            Box::pin(async move { ran.await.into_outcome() })
        };
        Self {
            name: name.into(),
            begin: Arc::new(begin),
            restart: Retry::none(),
            says_ready: false,
        }
    }

    /// How often and after which pauses it is begun again when it has failed or panicked, unless by a
    /// [`Failure::permanent`](crate::Failure::permanent). One that has run for a
    /// minute, and for longer than the longest pause, counts as begun for the first time.
    #[must_use]
    pub fn restart(mut self, restart: Retry) -> Self {
        self.restart = restart;
        self
    }

    /// It is ready when it says so, by [`Running::ready`], and not as soon as it was begun.
    #[must_use]
    pub fn says_ready(mut self) -> Self {
        self.says_ready = true;
        self
    }
}

impl fmt::Debug for Hosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosted")
            .field("name", &self.name)
            .field("restart", &self.restart)
            .field("says_ready", &self.says_ready)
            .finish_non_exhaustive()
    }
}
