//! What all tasks of one running endpoint share.

use crate::breaker::CircuitBreaker;
use crate::dead_letters::DeadLetterReport;
use crate::endpoint::in_flight::InFlight;
use crate::handler::Router;
use crate::pipeline::{PoisonLane, Surroundings};
use crate::unrouted::Unrouted;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tramline_core::capabilities::Capabilities;
use tramline_core::clock::{Deadline, Timestamp};
use tramline_core::envelope::Envelope;
use tramline_core::erased::{DynSender, DynStore};
use tramline_core::name::{QueueName, TopicName};
use tramline_core::topology::CompiledRules;

/// The endpoint at run time.
pub(crate) struct Shared {
    pub(crate) surroundings: Arc<Surroundings>,
    pub(crate) queue: QueueName,
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
    pub(crate) poison_lane: PoisonLane,
    pub(crate) breaker: Option<CircuitBreaker>,
    pub(crate) unhandled: UnhandledPolicy,
    pub(crate) held_too_long: Option<HeldTooLong>,
    pub(crate) idempotency_key: Option<KeyOf>,
    /// How many hooks for dead letters may be at work beside the slots.
    pub(crate) hook_places: Arc<Semaphore>,
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

/// What becomes of a message whose next pause is longer than the broker lets it stay unsettled, in
/// a queue whose order the bus keeps because the broker does not lock keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldTooLong {
    /// It is dead-lettered as if its retries had come to their end, and its key goes on.
    DeadLetter,
    /// It is retried by the transport's own means, and what is behind it of its key overtakes it.
    LetGo,
}

impl Default for UnhandledPolicy {
    fn default() -> Self {
        Self { pause: Duration::from_secs(10), limit: Duration::from_secs(15 * 60) }
    }
}

impl Shared {
    pub(crate) fn now(&self) -> Timestamp {
        self.surroundings.composer.clock.now()
    }

    pub(crate) fn send_deadline(&self) -> Deadline {
        Deadline::after(self.now(), self.send_limit)
    }

    /// Tells the hook of a message that is now in the dead-letter queue.
    pub(crate) async fn report_dead(&self, report: DeadLetterReport) {
        let clock = &self.surroundings.composer.clock;
        tokio::select! {
            biased;
            () = self.surroundings.hooks.dead_letter(report) => {}
            () = self.surroundings.killed.cancelled() => {}
            () = clock.sleep_until(clock.now().after(HOOKS_LIMIT)) => {
                tracing::error!(endpoint = &*self.surroundings.name, "dead-letter hooks took too long");
            }
        }
    }
}
