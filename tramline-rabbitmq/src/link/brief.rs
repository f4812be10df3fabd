//! A connection for one piece of work.

use super::connect::connect;
use super::session::Session;
use crate::options::RabbitMqOptions;
use tokio::task::JoinHandle;
use tramline_core::Result;

/// A connection that does not come back. It is cut when this is dropped, even where the broker reads
/// nothing from it any more and would answer to no close.
pub(crate) struct Brief {
    session: Session,
    watching: JoinHandle<()>,
}

impl Brief {
    /// Connects as `role`.
    ///
    /// # Errors
    /// Whatever the attempt failed with.
    pub(crate) async fn open(options: &RabbitMqOptions, role: &str) -> Result<Self> {
        let connected = connect(options, role).await?;
        let (session, watched) = Session::begin(1, connected);
        let watching = tokio::spawn(async move {
            let error = watched.await;
            tracing::trace!(%error, "a connection for one piece of work has ended");
        });
        Ok(Self { session, watching })
    }

    /// The connection.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Takes leave of the broker.
    pub(crate) async fn close(self) {
        self.session.close().await;
    }
}

impl Drop for Brief {
    fn drop(&mut self) {
        self.watching.abort();
        self.session.cut_off();
    }
}
