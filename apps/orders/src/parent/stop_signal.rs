//! SIGTERM and ctrl-c, listened to from the beginning.

use crate::trouble::Trouble;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) struct StopSignal {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignal {
    pub(super) fn listen() -> Result<Self, Trouble> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(Trouble::broken)?,
            interrupt: signal(SignalKind::interrupt()).map_err(Trouble::broken)?,
        })
    }

    /// Ends at the next signal. Cancel-safe.
    pub(super) async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
