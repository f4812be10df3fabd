//! While a suspect runs, nobody else does.

use crate::pipeline::{Context, Layer, Outcome, PoisonLane, Step};
use std::pin::pin;
use std::time::Duration;

/// For how long a suspect may keep everybody else waiting: then it runs on beside them.
const ALONE_MAX: Duration = Duration::from_secs(60);

/// Around each run, and not around the pauses between them, for which nobody needs to wait.
impl Layer for PoisonLane {
    async fn around<N: Step>(&self, cx: &mut Context, next: &N) -> Outcome {
        let Some(trial) = cx.trial.clone() else {
            let _beside_others = self.beside_others().await;
            return next.run(cx).await;
        };
        let (clock, endpoint) =
            (cx.surroundings.composer.clock.clone(), cx.surroundings.name.clone());
        let mut run = pin!(next.run(cx));
        tokio::select! {
            biased;
            outcome = &mut run => return outcome,
            () = clock.sleep_until(clock.now().after(ALONE_MAX)) => {}
        }
        tracing::warn!(endpoint = &*endpoint, "a message handled alone takes long: others go on");
        trial.end();
        run.await
    }
}
