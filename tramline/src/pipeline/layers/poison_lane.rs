//! While a suspect runs, nobody else does.

use crate::pipeline::{Context, Disposition, Layer, Outcome, PoisonLane, Step, Trial};
use std::pin::pin;
use std::time::Duration;

/// For how long a suspect may keep everybody else waiting: then it runs on beside them.
const ALONE_MAX: Duration = Duration::from_secs(60);

/// Around each run, and not around the pauses between them, for which nobody needs to wait.
impl Layer for PoisonLane {
    async fn around<N: Step>(&self, cx: &mut Context, next: &N) -> Outcome {
        match cx.trial.clone() {
            None => {
                let _beside_others = self.beside_others().await;
                unless_expired(cx, next).await
            }
            // In a box, so that the task of a message that is no suspect has no room for this.
            Some(trial) => Box::pin(alone(trial, cx, next)).await,
        }
    }
}

async fn alone<N: Step>(trial: Trial, cx: &mut Context, next: &N) -> Outcome {
    let (clock, endpoint) = (cx.surroundings.composer.clock.clone(), cx.surroundings.name.clone());
    let mut run = pin!(unless_expired(cx, next));
    tokio::select! {
        biased;
        outcome = &mut run => return outcome,
        () = clock.sleep_until(clock.now().after(ALONE_MAX)) => {}
    }
    tracing::warn!(endpoint = &*endpoint, "a message handled alone takes long: others go on");
    trial.end();
    run.await
}

/// Whoever has its turn may have waited long since it was admitted: for a duplicate, for the rest
/// of its batch, or for the lane.
async fn unless_expired<N: Step>(cx: &mut Context, next: &N) -> Outcome {
    if cx.is_expired() {
        cx.disposition = Disposition::Expired;
        return Ok(());
    }
    next.run(cx).await
}
