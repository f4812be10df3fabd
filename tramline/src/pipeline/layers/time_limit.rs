//! A time limit for each run, the commit included.

use crate::Failure;
use crate::pipeline::{Context, Layer, Outcome, Step};
use std::time::Duration;
use tokio::task::coop::unconstrained;
use tramline_core::{Error, ErrorKind};

/// Drops a run that takes longer; that is a retryable failure.
///
/// A commit that is under way then is decided by the store alone: if it went through, the
/// settlement that follows finds the lease gone.
pub(crate) struct TimeLimit(pub(crate) Duration);

impl Layer for TimeLimit {
    async fn around<N: Step>(&self, cx: &mut Context, next: &N) -> Outcome {
        let clock = cx.surroundings.composer.clock.clone();
        // A run that uses up what tokio grants a task at once must not starve it.
        let late = unconstrained(clock.sleep_until(clock.now().after(self.0)));
        let endpoint = cx.surroundings.name.clone();
        tokio::select! {
            biased;
            outcome = next.run(cx) => outcome,
            () = late => {
                let doing = format!("handle a message at {endpoint} within {:?}", self.0);
                Err(Failure::retryable(Error::new(ErrorKind::TimedOut, doing)))
            }
        }
    }
}
