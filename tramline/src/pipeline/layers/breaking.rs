//! A circuit breaker around each run.

use crate::breaker::{CallEnd, CircuitBreaker};
use crate::pipeline::{Context, Disposition, Layer, Outcome, Step};
use tramline_core::failure::Verdict;

/// Lets nothing run while the breaker is open, and tells it how the runs end.
///
/// Around the time limit and the catch for panics, so that both count.
pub(crate) struct Breaking(pub(crate) CircuitBreaker);

impl Layer for Breaking {
    async fn around<N: Step>(&self, cx: &mut Context, next: &N) -> Outcome {
        let Some(permit) = self.0.begin() else {
            cx.disposition = Disposition::Shut;
            return Ok(());
        };
        let Err(failure) = next.run(cx).await else {
            permit.end(match cx.disposition {
                Disposition::Open | Disposition::SettledByStore => CallEnd::Succeeded,
                _ => CallEnd::Unclear,
            });
            return Ok(());
        };
        let (is_probe, counts) = (permit.is_probe(), self.0.counts(&failure));
        permit.end(if counts { CallEnd::Failed } else { CallEnd::Unclear });
        // A long outage is no fault of those messages that it is tried with. What no retry can mend would be
        // tried for ever.
        if !(is_probe && counts && *failure.verdict() == Verdict::Retry) {
            return Err(failure);
        }
        cx.end_run();
        cx.report(&failure);
        let (endpoint, breaker) = (cx.endpoint(), self.0.name());
        tracing::info!(endpoint, breaker, %failure, "still down: the message comes back uncharged");
        cx.disposition = Disposition::ProbeFailed(self.0.probe_pause());
        Ok(())
    }
}
