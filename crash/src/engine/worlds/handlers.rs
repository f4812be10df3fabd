//! Handlers that the worlds have in common.

use crate::engine::evidence::count;
use crate::engine::message::{Order, Paid};
use std::time::Duration;
use tramline::{Attempt, Failure, Memory, Outbox, Retry, Tx};

/// Some pauses are slept in place, and some are not.
pub(super) fn retry() -> Retry {
    Retry::exponential(Duration::from_millis(400)).max(Duration::from_secs(10)).runs(6).jitter()
}

/// Charges in its transaction, and publishes both ways.
pub(super) async fn charge(
    order: Order,
    run: Attempt,
    tx: Tx<Memory>,
    outbox: Outbox,
) -> Result<(), Failure> {
    let n = order.n;
    count(&tx, format!("charged {n}"))?;
    outbox.publish(&Paid { n })?;
    tokio::task::yield_now().await;
    outcome(&order, run)
}

/// Notes in its transaction what was paid.
pub(super) async fn note(paid: Paid, tx: Tx<Memory>) -> Result<(), Failure> {
    count(&tx, format!("noted {}", paid.n))
}

/// Does nothing that a crash could do twice.
pub(super) async fn plain(order: Order, run: Attempt) -> Result<(), Failure> {
    tokio::task::yield_now().await;
    outcome(&order, run)
}

fn outcome(order: &Order, run: Attempt) -> Result<(), Failure> {
    if order.is_hopeless() {
        return Err(Failure::permanent("it never succeeds"));
    }
    if run.0 <= order.failures { Err(Failure::retryable("not yet")) } else { Ok(()) }
}
