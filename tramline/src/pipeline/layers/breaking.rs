//! A circuit breaker around each run.

use crate::MessageId;
use crate::breaker::{CallEnd, CircuitBreaker, Ended};
use crate::pipeline::{Context, Disposition, Layer, Outcome, Step};
use parking_lot::Mutex;
use std::collections::HashMap;
use tramline_core::failure::Verdict;

/// Lets nothing run while the breaker is open, and tells it how the runs end.
///
/// Around the time limit and the catch for panics, so that both count.
pub(crate) struct Breaking {
    breaker: CircuitBreaker,
    /// Set where the queue has an order: no other message may be there to be tried instead.
    tried: Option<Tried>,
}

impl Breaking {
    pub(crate) fn new(breaker: CircuitBreaker, is_ordered: bool) -> Self {
        Self { breaker, tried: is_ordered.then(Tried::default) }
    }

    /// Whether `cx`'s message has been tried in vain often enough, this time included.
    fn is_too_often(&self, cx: &Context, ended: Ended) -> bool {
        let id = cx.message.envelope.id.as_ref();
        self.tried.as_ref().is_some_and(|tried| tried.is_too_often(id, ended.outage))
    }
}

impl Layer for Breaking {
    async fn around<N: Step>(&self, cx: &mut Context, next: &N) -> Outcome {
        let granted = cx.permit.take().filter(|permit| permit.is_current());
        let Some(permit) = granted.map(|permit| *permit).or_else(|| self.breaker.begin()) else {
            cx.disposition = Disposition::Shut;
            return Ok(());
        };
        let Err(failure) = next.run(cx).await else {
            let failures = &cx.item_failures;
            let failed = failures.len() == cx.batch_len()
                && failures.values().all(|f| self.breaker.counts(f));
            let _ended = permit.end(match cx.disposition {
                // Each message by itself: no part of it will say more.
                Disposition::Open | Disposition::RolledBack if failed => CallEnd::Failed,
                Disposition::Away => CallEnd::Failed,
                Disposition::Open | Disposition::SettledByStore => CallEnd::Succeeded,
                _ => CallEnd::Unclear,
            });
            return Ok(());
        };
        // A batch that fails is halved, and its parts say more: else one bad message would count for each half.
        let counts = cx.batch_len() == 1 && self.breaker.counts(&failure);
        let is_probe = permit.is_probe();
        let ended = permit.end(if counts { CallEnd::Failed } else { CallEnd::Unclear });
        // A long outage is no fault of those messages that it is tried with. What no retry can mend would be
        // tried for ever.
        let is_tried = is_probe && counts && *failure.verdict() == Verdict::Retry;
        let Some(ended) = ended.filter(|_| is_tried) else { return Err(failure) };
        if ended.others_succeeded {
            return Err(failure);
        }
        if self.is_too_often(cx, ended) {
            cx.pause_min = self.breaker.probe_pause();
            return Err(failure);
        }
        cx.end_run();
        cx.report(&failure);
        let (endpoint, breaker) = (cx.endpoint(), self.breaker.name());
        tracing::info!(endpoint, breaker, %failure, "still down: the message comes back uncharged");
        cx.disposition = Disposition::ProbeFailed(self.breaker.probe_pause());
        Ok(())
    }
}

/// How many probes of one message may fail in one outage before it is charged.
pub(crate) const FREE_PROBES: u32 = 3;

/// The messages whose probes have failed in an outage.
#[derive(Default)]
struct Tried(Mutex<Outage>);

#[derive(Default)]
struct Outage {
    number: u64,
    /// Those without an id count as one.
    failed: HashMap<Option<MessageId>, u32>,
}

impl Tried {
    /// Counts a failed probe.
    fn is_too_often(&self, id: Option<&MessageId>, number: u64) -> bool {
        // More than a year of probes, each of another message, at one in an hour.
        const MANY: usize = 10_000;
        let mut outage = self.0.lock();
        if outage.number != number || outage.failed.len() >= MANY {
            *outage = Outage { number, failed: HashMap::new() };
        }
        let failed = outage.failed.entry(id.cloned()).or_default();
        *failed = failed.saturating_add(1);
        *failed > FREE_PROBES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: &str) -> MessageId {
        id.parse().unwrap()
    }

    #[test]
    fn three_probes_of_a_message_are_free_in_each_outage() {
        let (tried, a, b) = (Tried::default(), id("a"), id("b"));
        assert_eq!([(); 4].map(|()| tried.is_too_often(Some(&a), 0)), [false, false, false, true]);
        assert!(!tried.is_too_often(Some(&b), 0), "each by itself");
        assert!(!tried.is_too_often(Some(&a), 1), "another outage");
        assert_eq!([(); 4].map(|()| tried.is_too_often(None, 1)), [false, false, false, true]);
    }
}
