//! What an endpoint lends to its pipeline.

use crate::at_work::AtWork;
use crate::dead_letters::{FailureReport, Hooks};
use crate::events::Core;
use crate::handler::Versions;
use crate::pipeline::{Incoming, States};
use crate::retry::Retries;
use crate::stopping::Stopping;
use crate::{Failure, Message};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tramline_core::compose::Composer;
use tramline_core::envelope::Envelope;

/// The endpoint, as far as layers, handlers and extractors have to do with it.
pub(crate) struct Surroundings {
    pub(crate) name: Arc<str>,
    /// What inboxes and ids of published messages know it by: the name, with the queue where that
    /// has another, because two services may call an endpoint the same.
    pub(crate) identity: Arc<str>,
    pub(crate) composer: Arc<Composer>,
    pub(crate) states: Arc<States>,
    /// The domain events that handlers may publish; `None` if there are none.
    pub(crate) events: Option<Arc<Core>>,
    pub(crate) versions: Versions,
    pub(crate) retries: Retries,
    pub(crate) hooks: Hooks,
    pub(crate) stopping: Stopping,
    /// The limit for stopping is over: what still runs is dropped and returned.
    pub(crate) killed: CancellationToken,
    /// Those of the bus that are at work.
    pub(crate) handlers: AtWork,
}

impl Surroundings {
    /// Those of what no endpoint is at work on.
    pub(crate) fn without_endpoint(
        composer: Arc<Composer>,
        states: Arc<States>,
        stopping: Stopping,
        killed: CancellationToken,
    ) -> Self {
        let name: Arc<str> = "events".into();
        Self {
            identity: name.clone(),
            name,
            composer,
            states,
            events: None,
            versions: Versions::default(),
            retries: Retries::default(),
            hooks: Hooks::default(),
            stopping,
            killed,
            handlers: AtWork::default(),
        }
    }

    /// No handler begins any more: the limit of a drain is over, or this program is outdated.
    pub(crate) fn begins_nothing(&self) -> bool {
        self.killed.is_cancelled() || self.stopping.why().is_some()
    }

    /// The message in an envelope.
    ///
    /// # Errors
    /// The body cannot be read: no retry can help.
    pub(crate) fn decode<M: Message>(&self, envelope: &Envelope) -> Result<M, Failure> {
        self.versions.decode(&self.composer.encoding, envelope.version, &envelope.body)
    }

    /// Tells the error callback of one failed run of `message`, not counted among its failures
    /// yet.
    pub(crate) fn report(&self, message: &Incoming, failure: &Failure) {
        self.hooks.failed(&FailureReport {
            endpoint: &self.name,
            id: &message.id,
            name: message.envelope.name.as_deref(),
            attempt: message.failures.saturating_add(1),
            failure,
        });
    }
}
