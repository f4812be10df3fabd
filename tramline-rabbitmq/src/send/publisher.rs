//! What all senders of one handle share: the window, and the channel of the present connection.

use super::bans::Bans;
use super::channel::ConfirmChannel;
use super::ground::Ground;
use crate::link::Session;
use crate::options::RabbitMqOptions;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tramline_core::Result;

/// Opens the channel when it is first needed, and another when the broker closed it.
pub(crate) struct Publisher {
    window: Arc<Semaphore>,
    present: Mutex<Option<Arc<Present>>>,
    over_tls: bool,
    pub(super) bans: Bans,
    /// One opens at a time.
    opening: tokio::sync::Mutex<()>,
}

/// The channel of the present connection, and what is known to be there.
pub(crate) struct Present {
    session_number: u64,
    pub(crate) channel: ConfirmChannel,
    pub(crate) ground: Ground,
}

impl Publisher {
    /// One that lets as many messages be in flight as `options` say.
    pub(crate) fn new(options: &RabbitMqOptions) -> Self {
        Self {
            window: Arc::new(Semaphore::new(options.unconfirmed_max as usize)),
            present: Mutex::new(None),
            over_tls: options.tls.is_some(),
            bans: Bans::default(),
            opening: tokio::sync::Mutex::new(()),
        }
    }

    /// A place in the window; waits while it is full. Cancel-safe.
    pub(crate) async fn place(&self) -> OwnedSemaphorePermit {
        let window = self.window.clone();
        window.acquire_owned().await.expect("the window is never closed")
    }

    /// The channel on `session`.
    ///
    /// # Errors
    /// The connection is gone, or the broker has no more channels.
    pub(crate) async fn on(&self, session: &Session) -> Result<Arc<Present>> {
        if let Some(present) = self.open_on(session) {
            return Ok(present);
        }
        let _turn = self.opening.lock().await;
        if let Some(present) = self.open_on(session) {
            return Ok(present);
        }
        let present = Arc::new(Present {
            session_number: session.number(),
            channel: ConfirmChannel::open(session.clone(), self.over_tls).await?,
            ground: Ground::new(session.clone()),
        });
        *self.present.lock() = Some(present.clone());
        Ok(present)
    }

    fn open_on(&self, session: &Session) -> Option<Arc<Present>> {
        let present = self.present.lock();
        let present = present.as_ref().filter(|present| {
            present.session_number == session.number() && present.channel.is_open()
        });
        present.cloned()
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("places", &self.window.available_permits()).finish()
    }
}
