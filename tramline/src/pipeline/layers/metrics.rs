//! Counts and times, through the `metrics` facade: the application picks the recorder.

use crate::pipeline::{Context, Disposition, Layer, Outcome, Step};
use metrics::{Counter, Histogram};
use std::sync::Arc;
use tramline_core::clock::Clock;

/// `tramline_handled_total{endpoint, outcome}` and `tramline_handle_seconds{endpoint}`.
///
/// Handles are taken when the bus starts: install the recorder before.
pub(crate) struct Metrics {
    clock: Arc<dyn Clock>,
    succeeded: Counter,
    failed: Counter,
    seconds: Histogram,
}

impl Metrics {
    pub(crate) fn new(endpoint: &str, clock: Arc<dyn Clock>) -> Self {
        let endpoint = endpoint.to_owned();
        let handled = |outcome: &'static str| {
            metrics::counter!(
                "tramline_handled_total", "endpoint" => endpoint.clone(), "outcome" => outcome
            )
        };
        Self {
            clock,
            succeeded: handled("succeeded"),
            failed: handled("failed"),
            seconds: metrics::histogram!("tramline_handle_seconds", "endpoint" => endpoint.clone()),
        }
    }
}

impl Layer for Metrics {
    async fn around<N: Step>(&self, cx: &mut Context, next: &N) -> Outcome {
        let began = self.clock.now();
        let outcome = next.run(cx).await;
        if matches!(cx.disposition, Disposition::Expired | Disposition::Shut) {
            return outcome;
        }
        self.seconds.record(self.clock.now().since(began));
        let is_in_vain = matches!(cx.disposition, Disposition::ProbeFailed(_) | Disposition::Away);
        let has_failed = outcome.is_err() || is_in_vain;
        let failed = if has_failed { cx.batch_len() } else { cx.item_failures.len() };
        self.failed.increment(failed as u64);
        // Who runs again is counted then.
        if cx.disposition != Disposition::RolledBack {
            self.succeeded.increment(cx.batch_len().saturating_sub(failed) as u64);
        }
        outcome
    }
}
