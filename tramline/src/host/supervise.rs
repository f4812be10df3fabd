//! One service is run, and begun again where it may be.

use super::handle::ServiceState;
use super::hosted::Hosted;
use super::running::Running;
use crate::Failure;
use crate::caught::{caught, drop_caught};
use crate::pipeline::Outcome;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// For how long a service has to run until earlier failures are forgotten.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// Runs a service until it ends, fails for good, or was told to stop.
///
/// # Errors
/// It has failed for good.
pub(super) async fn supervise(hosted: Hosted, running: Running) -> Result<(), Failure> {
    let (board, place, service) = (running.board.clone(), running.place, &*hosted.name);
    let healthy_after = HEALTHY_AFTER.max(hosted.restart.pause_max());
    let mut failures = 0;
    loop {
        board.set(place, ServiceState::Starting);
        if !hosted.says_ready {
            board.ready(place);
        }
        let began = running.clock.now();
        let Err(failure) = run(&hosted, &running).await else {
            board.set(place, ServiceState::Ended);
            return Ok(());
        };
        let why = words(&failure);
        if running.is_stopping() {
            tracing::warn!(service, why, "failed while it was stopped");
            board.failed(place, why, ServiceState::Ended);
            return Ok(());
        }
        if running.clock.now().since(began) > healthy_after {
            failures = 0;
        }
        failures += 1;
        // What no pause can mend is not tried again.
        let is_lasting = failure.is_permanent() || failure.outdated().is_some();
        let pause = hosted.restart.pause(failures, running.entropy.fraction());
        let Some(pause) = pause.filter(|_| !is_lasting) else {
            tracing::error!(service, why, "failed for good");
            board.failed(place, why, ServiceState::Failed);
            return Err(failure);
        };
        tracing::error!(service, why, ?pause, "failed; it is begun again");
        board.failed(place, why, ServiceState::Restarting);
        drop_caught(failure);
        let again = running.clock.now().after(pause);
        tokio::select! {
            biased;
            () = running.stopping() => {
                board.set(place, ServiceState::Ended);
                return Ok(());
            }
            () = running.clock.sleep_until(again) => {}
        }
    }
}

/// In a block of its own, so that a panic is caught where the service is begun, too.
async fn run(hosted: &Hosted, running: &Running) -> Outcome {
    caught(async { (hosted.begin)(running.clone()).await }).await
}

/// The text of a failure, which is the user's code.
fn words(failure: &Failure) -> String {
    let text = catch_unwind(AssertUnwindSafe(|| failure.to_string()));
    text.unwrap_or_else(|_| "an error whose text panics".to_owned())
}
