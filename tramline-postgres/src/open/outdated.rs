//! That a newer program has changed the tables while this one was at work.

use super::core::Core;
use crate::link::Connected;
use crate::schema;
use tramline_core::{Error, ErrorKind, Result};

impl Core {
    /// # Errors
    /// [`ErrorKind::Outdated`], once that is known.
    pub(crate) fn refuse_when_outdated(&self) -> Result<()> {
        self.outdated.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Looks whether that is so.
    ///
    /// # Errors
    /// [`ErrorKind::Outdated`], if it is. Or the server fails.
    pub(crate) async fn check_version(&self, connected: &Connected) -> Result<()> {
        let looked = schema::version(connected, &self.target.to_string()).await;
        looked.map(drop).inspect_err(|error| self.heed(error))
    }

    /// What was answered that may be about it: what is not as it should be may be so because a newer
    /// program has changed it.
    pub(crate) async fn explained(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::Misconfigured {
            return error;
        }
        let looked = async {
            let connected = self.operating.try_connected().await?;
            self.check_version(&connected).await
        };
        match looked.await {
            Err(outdated) if outdated.kind() == ErrorKind::Outdated => outdated,
            _ => error,
        }
    }

    fn heed(&self, error: &Error) {
        if error.kind() == ErrorKind::Outdated && self.outdated.set(error.clone()).is_ok() {
            // Whoever waits for messages is told instead.
            self.hub.wake_all();
        }
    }
}
