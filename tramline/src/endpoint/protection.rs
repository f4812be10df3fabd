//! What an endpoint says about sparing what it depends on. Faults are reported by `start()`.

use crate::breaker::CircuitBreaker;
use crate::endpoint::Endpoint;
use crate::endpoint::rate::RateLimit;
use crate::pipeline::layers::FREE_PROBES;
use std::time::Duration;
use tramline_core::capabilities::{Capabilities, TemporaryQueues};
use tramline_core::topology::QueueSpec;

/// What was asked for; `None`: nothing.
#[derive(Default)]
pub(crate) struct Protection {
    pub(crate) breaker: Option<CircuitBreaker>,
    pub(crate) rate: Option<RateLimit>,
    pub(crate) per_key: PerKey,
}

/// The same for messages of one key.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PerKey {
    pub(crate) rate: Option<RateLimit>,
    pub(crate) concurrency: Option<usize>,
}

impl Endpoint {
    /// Stops taking messages while `breaker` is open, instead of burning their retries.
    ///
    /// What this process has taken and not begun goes back uncharged, so that other processes may have it;
    /// what runs goes on to its end. So a queue that its broker removes when nobody reads it can have no breaker:
    /// `start()` refuses that. When the breaker tries whether the dependency is back, at most as many
    /// messages as it has probes are taken at a time; one whose probe fails comes back uncharged, a little
    /// after the breaker tries again. If others have succeeded since it tries, it is charged. Order by key is kept
    /// through all of this: where the broker does not lock keys, what has failed here waits here, unsettled, with
    /// what is behind it. On RabbitMQ, which gives an ordered queue to one consumer as long as that holds
    /// anything, all of its keys wait for that in every process: for as long as the longest pause of what had failed
    /// before the breaker opened. So its [`retry`](Self::retry) should pause for no longer than the breaker opens.
    ///
    /// In a queue that has an order there may be no other message to try in its place. So there three probes of
    /// a message are free in one outage, and then each that fails is charged as a run: its
    /// [`retry`](Self::retry) has to last for an outage.
    ///
    /// A run of a batch handler is one call, but for those that fail: such a batch is halved, and of its parts
    /// those count that succeed or are of one message. Probes are batches of one, but for a batch that was gathered
    /// before and begins when the breaker tries. A handler that may hang needs a
    /// [`time_limit`](Self::time_limit): a probe without an end keeps the others out.
    ///
    /// One breaker may be given to several endpoints; of two breakers for one endpoint the last counts.
    pub fn circuit_breaker(mut self, breaker: &CircuitBreaker) -> Self {
        self.behaviour.protection.breaker = Some(breaker.clone());
        self
    }

    /// Takes no more messages than this; a message that would be too early stays in its queue.
    ///
    /// Each run counts: a retry goes back to the queue and is taken again, and none pauses in place. Of a
    /// batch each message counts once. In this process: several processes on one queue have a rate each.
    /// A broker that sends ahead does so regardless; [`prefetch`](Self::prefetch) says how much it may, and it is
    /// less where the last of it would stay unsettled for longer than half of what the broker allows (capability
    /// `hold_max`). A rate at which one alone would is refused at `start()`.
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.behaviour.protection.rate = Some(limit);
        self
    }

    /// Begins no more messages of one key than this; those without a key are not limited.
    ///
    /// A message that would be too early waits unsettled, and holds up neither a slot nor other keys. When
    /// half the [`prefetch`](Self::prefetch) waits, what comes then goes back to the queue until its turn,
    /// uncharged; so does what would wait for longer than half of what the broker allows (capability `hold_max`),
    /// and everything that must wait while a [circuit breaker](Self::circuit_breaker) tries. In an ordered queue
    /// whose keys the broker does not lock it waits here in any case: `start()` refuses a rate at which that may
    /// take too long. Retries count, as those of [`rate_limit`](Self::rate_limit) do. In this process: several
    /// processes on one queue have a rate each.
    pub fn rate_limit_per_key(mut self, limit: RateLimit) -> Self {
        self.behaviour.protection.per_key.rate = Some(limit);
        self
    }

    /// Handles at most so many messages of one key at once in this process, its settlement included; as many
    /// as there are slots if not said. Messages without a key are not limited.
    ///
    /// Those that wait for their turn wait as for [`rate_limit_per_key`](Self::rate_limit_per_key); what goes
    /// back comes again after a second, or later if there are many. For one at a time and in order, in all
    /// processes, say [`ordering`](Self::ordering): where the broker locks keys, that costs less.
    pub fn concurrency_per_key(mut self, handlers: usize) -> Self {
        self.behaviour.protection.per_key.concurrency = Some(handlers);
        self
    }
}

impl Protection {
    /// The longest pause that a message may be sent back with.
    pub(crate) fn pause_max(&self) -> Duration {
        self.breaker.as_ref().map(CircuitBreaker::probe_pause).unwrap_or_default()
    }

    /// The longest that failed probes keep a message of an ordered queue, beside `pauses` of its own.
    pub(crate) fn probes_total(&self, pauses: u32) -> Duration {
        self.pause_max().saturating_mul(FREE_PROBES.saturating_add(pauses))
    }

    /// How many may be taken at the rate of the endpoint, so that the last of them need not stay unsettled for
    /// longer than half of what the broker allows; 0 if one alone may. All of them, if there is no such limit.
    pub(crate) fn held_max(&self, hold_max: Option<Duration>) -> u32 {
        let (Some(rate), Some(hold_max)) = (self.rate, hold_max) else { return u32::MAX };
        let most = (hold_max / 2).as_nanos() / rate.period().as_nanos().max(1);
        u32::try_from(most).unwrap_or(u32::MAX)
    }

    /// What `transport` would make of it, where that is wrong, in words.
    pub(crate) fn unfit(
        &self,
        spec: &QueueSpec,
        can: &Capabilities,
        transport: &str,
    ) -> Vec<String> {
        let is_bound = spec.temporary && can.temporary_queues == TemporaryQueues::ByBroker;
        let is_removed = is_bound || spec.arguments.contains_key("x-expires");
        let breaker = self.breaker.as_ref().filter(|_| is_removed).map(|_| {
            format!(
                "its circuit breaker ends receiving while it is open, and {transport} may remove a queue like \
                 this, temporary or with `x-expires`, when nobody reads it: leave `.circuit_breaker(…)` out, and \
                 let the handler call through the breaker (`CircuitBreaker::call`)"
            )
        });
        let rate = self.rate.filter(|_| self.held_max(can.hold_max) == 0).map(|rate| {
            let (period, hold_max) = (rate.period(), can.hold_max.unwrap_or_default());
            format!(
                "`.rate_limit(…)` takes a message every {period:?}, and {transport} lets one that it has sent stay \
                 unsettled for at most {hold_max:?} (capability `hold_max`): allow at least two in this time"
            )
        });
        breaker.into_iter().chain(rate).collect()
    }

    /// Whether messages that wait for others may be sent back for a while.
    pub(crate) fn sends_away(&self) -> bool {
        self.per_key.rate.is_some() || self.per_key.concurrency.is_some()
    }

    /// Whether runs are counted, so that each must be taken from the queue.
    pub(crate) fn counts_runs(&self) -> bool {
        self.rate.is_some() || self.per_key.rate.is_some()
    }

    /// Everything that is wrong, in words.
    pub(crate) fn problems(&self) -> Vec<String> {
        let breaker = self.breaker.iter().flat_map(CircuitBreaker::problems).cloned();
        let rates = [("rate_limit", self.rate), ("rate_limit_per_key", self.per_key.rate)];
        let rates = rates.into_iter().flat_map(|(what, limit)| {
            let problems = limit.map(|limit| limit.problems()).unwrap_or_default();
            problems.into_iter().map(move |why| format!("`.{what}(…)`: {why}"))
        });
        let none_at_once = self.per_key.concurrency == Some(0);
        let none_at_once =
            none_at_once.then(|| "`.concurrency_per_key(0)` lets no message with a key run".into());
        breaker.chain(rates).chain(none_at_once).collect()
    }
}
