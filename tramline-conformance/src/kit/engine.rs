//! What the engine does with a delivery: natively where the broker can, else by a copy that is
//! safe before the original is acked. Scenarios thus ask the same of both kinds of driver.

use super::consumer::{ack, settle};
use super::message::{copy, queue_name};
use super::scene::{Scene, Taken};
use super::time::now;
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::dead::{FailureNote, History, Reason};
use tramline_core::name::QueueRef;
use tramline_core::settlement::{Marks, Settlement};
use tramline_core::transport::{CopyOf, Delivery, Outgoing, Transport};

/// A failure of the handler, as the engine records it.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) failures: u32,
    pub(crate) notes: Vec<FailureNote>,
    pub(crate) marks: Marks,
}

impl Failed {
    /// The failure that makes `failures` in all.
    pub(crate) fn again(failures: u32) -> Self {
        let notes = vec![note(failures)];
        Self { failures, notes, marks: Marks::default() }
    }

    /// The failure that makes `failures` in all, and the one before it, a second earlier in the
    /// same delivery.
    pub(crate) fn twice(failures: u32) -> Self {
        let before = note(failures - 1);
        let at = before.at.before(Duration::from_secs(1));
        let notes = vec![FailureNote { at, ..before }, note(failures)];
        Self { notes, ..Self::again(failures) }
    }
}

/// The note of the failure with this number, now: in whole milliseconds, as on the wire.
pub(crate) fn note(failure: u32) -> FailureNote {
    FailureNote {
        at: Timestamp::from_millis(now().as_millis()),
        failure,
        error: format!("connection nº {failure} reset: \"peer\" left\nthe line"),
    }
}

/// Puts a delivery back to `queue` after a pause.
pub(crate) async fn retry<T: Transport>(
    scene: &Scene<T>,
    queue: &str,
    delivery: Taken<T>,
    after: Duration,
    failed: Failed,
) {
    let Failed { failures, notes, marks } = failed;
    if scene.can(queue).delayed_retry.is_native() {
        let retry = Settlement::Retry { after, failures, notes, marks };
        return settle(delivery, retry).await;
    }
    let record = CopyOf::Retry { failures, history: history(&delivery, notes), marks };
    let back = copy(QueueRef::Main(queue_name(queue)), delivery.envelope(), record);
    let due = (!after.is_zero()).then(|| now().after(after));
    scene.send(Outgoing { due, ..back }).await;
    ack(delivery).await;
}

/// Moves a delivery to the dead letters of `queue`.
pub(crate) async fn dead_letter<T: Transport>(
    scene: &Scene<T>,
    queue: &str,
    delivery: Taken<T>,
    reason: Reason,
    failed: Failed,
) {
    let Failed { failures, notes, .. } = failed;
    if scene.can(queue).dead_letter.is_native() {
        let dead = Settlement::DeadLetter { reason, failures, notes };
        return settle(delivery, dead).await;
    }
    let record = CopyOf::DeadLetter { reason, failures, history: history(&delivery, notes) };
    let dead = copy(QueueRef::Dead(queue_name(queue)), delivery.envelope(), record);
    scene.send(dead).await;
    ack(delivery).await;
}

fn history(delivery: &impl Delivery, notes: Vec<FailureNote>) -> History {
    let mut history = History::new();
    for note in delivery.history().iter().cloned().chain(notes) {
        history.push(note);
    }
    history
}
