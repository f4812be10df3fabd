//! Who runs beside whom in one process.

use parking_lot::Mutex;
use std::sync::{Arc, LazyLock};
use tokio::sync::{
    Mutex as AsyncMutex, MutexGuard, OwnedRwLockWriteGuard, RwLock, RwLockReadGuard,
};

/// Where messages run beside each other, but for those that may kill the process: each of these
/// runs alone. All buses of a process share one, because they share its death.
#[derive(Clone, Debug, Default)]
pub struct PoisonLane {
    running: Arc<RwLock<()>>,
    turn: Arc<AsyncMutex<()>>,
}

impl PoisonLane {
    /// The one of this process.
    pub(crate) fn of_process() -> Self {
        static LANE: LazyLock<PoisonLane> = LazyLock::new(PoisonLane::default);
        LANE.clone()
    }

    /// As long as it is held, nobody is alone. Waits behind whoever wants to be. Cancel-safe.
    pub(crate) async fn beside_others(&self) -> RwLockReadGuard<'_, ()> {
        self.running.read().await
    }

    /// As long as it is held, nobody else may ask to be [`alone`](Self::alone). Cancel-safe.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Waits until nobody else runs. Cancel-safe.
    pub(crate) async fn alone(&self) -> Trial {
        Trial(Arc::new(Mutex::new(Some(self.running.clone().write_owned().await))))
    }
}

/// As long as it is held, nobody else runs. Clones are the same trial.
#[derive(Clone, Debug)]
pub(crate) struct Trial(Arc<Mutex<Option<OwnedRwLockWriteGuard<()>>>>);

impl Trial {
    /// Others run from now on.
    pub(crate) fn end(&self) {
        drop(self.0.lock().take());
    }
}
