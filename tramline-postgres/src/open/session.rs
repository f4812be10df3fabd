//! One opening of a database, until it is closed.

use tokio::sync::watch;

/// Whether what came from this opening may still be used.
#[derive(Debug)]
pub(crate) struct Session {
    closed: watch::Sender<bool>,
}

impl Default for Session {
    fn default() -> Self {
        Self { closed: watch::Sender::new(false) }
    }
}

impl Session {
    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Ends when the session is closed. Cancel-safe.
    pub(crate) async fn closed(&self) {
        // The sender lives as long as `self`.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
    }
}
