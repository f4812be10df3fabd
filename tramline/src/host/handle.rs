//! How the services of a host do, for health checks, and how it is told to stop.

use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How a service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServiceState {
    /// What was added before it is not ready yet.
    Waiting,
    /// It was begun and is not ready yet.
    Starting,
    /// It does its work.
    Ready,
    /// It has failed and is begun again after a pause.
    Restarting,
    /// It has come to its end by itself, or was stopped.
    Ended,
    /// It has failed for good.
    Failed,
}

/// How a service does, and what went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// How it does.
    pub state: ServiceState,
    /// How often it was begun again.
    pub restarts: u64,
    /// Why it has failed last.
    pub last_failure: Option<String>,
}

/// Looks at a host and stops it, from within its services or elsewhere. Clones are of the same host.
#[derive(Clone)]
pub struct HostHandle {
    pub(super) board: Arc<Board>,
    pub(super) stop: CancellationToken,
}

/// Where services are written down.
pub(super) struct Board {
    services: Mutex<Vec<ServiceStatus>>,
    /// The places of those that say that something of them was cut short.
    cut_short: Mutex<BTreeSet<usize>>,
    changed: watch::Sender<()>,
}

impl HostHandle {
    /// Stops the host as SIGTERM does.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Whether every service is ready, or has come to its end: what a readiness check answers.
    pub fn is_ready(&self) -> bool {
        !self.stop.is_cancelled() && self.board.are_all_ready()
    }

    /// Ends when all services are ready, with true; or when the host stops, because it was told to or a service
    /// has failed, with false. Cancel-safe.
    #[must_use = "it may have failed"]
    pub async fn ready(&self) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = self.board.until(Board::are_all_ready) => true,
        }
    }

    /// All services, in their order.
    pub fn services(&self) -> Vec<ServiceStatus> {
        self.board.services.lock().clone()
    }
}

impl Board {
    pub(super) fn new() -> Self {
        Self {
            services: Mutex::default(),
            cut_short: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// Adds a service. Answers its place.
    pub(super) fn add(&self, name: String) -> usize {
        let mut services = self.services.lock();
        let state = ServiceState::Waiting;
        services.push(ServiceStatus { name, state, restarts: 0, last_failure: None });
        services.len() - 1
    }

    pub(super) fn set(&self, place: usize, state: ServiceState) {
        self.change(place, |status| status.state = state);
    }

    /// A service that was begun is ready. One that has ended meanwhile stays so.
    pub(super) fn ready(&self, place: usize) {
        self.change(place, |status| {
            if status.state == ServiceState::Starting {
                status.state = ServiceState::Ready;
            }
        });
    }

    pub(super) fn failed(&self, place: usize, why: String, state: ServiceState) {
        self.change(place, |status| {
            status.state = state;
            status.last_failure = Some(why);
            status.restarts += u64::from(state == ServiceState::Restarting);
        });
    }

    pub(super) fn cut_short(&self, place: usize) {
        self.cut_short.lock().insert(place);
    }

    pub(super) fn was_cut_short(&self, place: usize) -> bool {
        self.cut_short.lock().contains(&place)
    }

    fn change(&self, place: usize, change: impl FnOnce(&mut ServiceStatus)) {
        if let Some(status) = self.services.lock().get_mut(place) {
            change(status);
        }
        self.changed.send_replace(());
    }

    pub(super) fn state(&self, place: usize) -> Option<ServiceState> {
        self.services.lock().get(place).map(|status| status.state)
    }

    fn are_all_ready(&self) -> bool {
        let is_ready = |state| matches!(state, ServiceState::Ready | ServiceState::Ended);
        self.services.lock().iter().all(|status| is_ready(status.state))
    }

    /// Ends when it is so. Cancel-safe.
    pub(super) async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        // The sender lives as long as `self`.
        let _ = changed.wait_for(|()| is_so(self)).await;
    }
}

impl fmt::Debug for HostHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostHandle").field("services", &self.services()).finish_non_exhaustive()
    }
}
