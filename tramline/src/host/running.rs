//! What a service knows of its host.

use super::handle::Board;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tramline_core::clock::{Clock, Deadline, Entropy};

/// What a service knows of its host, and tells it. Clones are the same.
#[derive(Clone)]
pub struct Running {
    pub(super) place: usize,
    pub(super) board: Arc<Board>,
    pub(super) stop: CancellationToken,
    /// When everything must have ended, once the host stops.
    pub(super) deadline: Arc<OnceLock<Deadline>>,
    /// How long stopping all may take.
    pub(super) limit: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
}

impl Running {
    /// Says that the service is ready: the next one is started. Only needed where
    /// [`Hosted::says_ready`](super::Hosted::says_ready) says so.
    pub fn ready(&self) {
        self.board.ready(self.place);
    }

    /// Something of the service was cut short, although it ends in time.
    pub(super) fn was_cut_short(&self) {
        self.board.cut_short(self.place);
    }

    /// Whether the service should end.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Ends when the service should end: what was started after it has ended by then. Cancel-safe. What
    /// it answers is independent of `self`, as `axum::serve(…).with_graceful_shutdown(…)` wants it.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.stop.clone().cancelled_owned()
    }

    /// How much of the host's limit is left for all that is still to be stopped; nothing while the host does
    /// not stop.
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline.get().map(|deadline| deadline.left(self.clock.now()))
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("is_stopping", &self.is_stopping()).finish_non_exhaustive()
    }
}
