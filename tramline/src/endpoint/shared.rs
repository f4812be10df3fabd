//! What all tasks of one running endpoint share.

use crate::Failure;
use crate::dead_letters::{DeadLetterReport, FailureReport, Hooks};
use crate::endpoint::in_flight::InFlight;
use crate::handler::{Router, States};
use crate::pipeline::Incoming;
use crate::publish::Unrouted;
use crate::retry::Retries;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tramline_core::capabilities::Capabilities;
use tramline_core::clock::{Deadline, Timestamp};
use tramline_core::compose::Composer;
use tramline_core::dead::Reason;
use tramline_core::envelope::Envelope;
use tramline_core::erased::{DynSender, DynStore};
use tramline_core::name::{QueueName, TopicName};
use tramline_core::topology::CompiledRules;

/// The endpoint at run time.
pub(crate) struct Shared {
    pub(crate) name: Arc<str>,
    /// What inboxes and ids of published messages know it by: the name, with the queue where that
    /// has another, because two services may call an endpoint the same.
    pub(crate) identity: Arc<str>,
    pub(crate) queue: QueueName,
    pub(crate) composer: Arc<Composer>,
    pub(crate) states: Arc<States>,
    pub(crate) retries: Retries,
    pub(crate) router: Router,
    /// The rules that the broker cannot apply by itself; `None` where it applies all.
    pub(crate) rules: Option<HashMap<TopicName, CompiledRules>>,
    pub(crate) capabilities: Capabilities,
    pub(crate) sender: Arc<dyn DynSender>,
    pub(crate) send_limit: Duration,
    pub(crate) unrouted: Arc<Unrouted>,
    /// The store of a transactional endpoint.
    pub(crate) store: Option<Arc<dyn DynStore>>,
    pub(crate) in_flight: InFlight,
    pub(crate) unhandled: UnhandledPolicy,
    pub(crate) idempotency_key: Option<KeyOf>,
    pub(crate) hooks: Hooks,
    /// How many hooks for dead letters may be at work beside the slots.
    pub(crate) hook_places: Arc<Semaphore>,
    /// The bus stops: nothing new is taken, pauses end.
    pub(crate) stopping: CancellationToken,
    /// The limit for stopping is over: what still runs is dropped and returned.
    pub(crate) killed: CancellationToken,
}

/// Derives a sender's idempotency key from a message that came without one.
pub(crate) type KeyOf = Arc<dyn Fn(&Envelope) -> Option<String> + Send + Sync>;

/// How long the hooks of one dead letter may take.
const HOOKS_LIMIT: Duration = Duration::from_secs(60);

/// How long a message of an unknown type is kept, and how often it is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnhandledPolicy {
    pub(crate) pause: Duration,
    pub(crate) limit: Duration,
}

impl Default for UnhandledPolicy {
    fn default() -> Self {
        Self { pause: Duration::from_secs(10), limit: Duration::from_secs(15 * 60) }
    }
}

impl Shared {
    pub(crate) fn now(&self) -> Timestamp {
        self.composer.clock.now()
    }

    pub(crate) fn send_deadline(&self) -> Deadline {
        Deadline::after(self.now(), self.send_limit)
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

    /// Tells the hook of a message that is now in the dead-letter queue.
    pub(crate) async fn report_dead(
        &self,
        envelope: &Arc<Envelope>,
        reason: Reason,
        failures: u32,
        error: Option<String>,
    ) {
        let report = DeadLetterReport {
            endpoint: self.name.clone(),
            queue: self.queue.clone(),
            envelope: envelope.clone(),
            reason,
            failures,
            error,
        };
        let clock = &self.composer.clock;
        tokio::select! {
            biased;
            () = self.hooks.dead_letter(report) => {}
            () = self.killed.cancelled() => {}
            () = clock.sleep_until(clock.now().after(HOOKS_LIMIT)) => {
                tracing::error!(endpoint = &*self.name, "dead-letter hooks took too long");
            }
        }
    }
}
