//! What all senders of one handle share: the window, and the channel of the present connection.

use super::channel::ConfirmChannel;
use super::prepared::Prepared;
use super::recent_refusals::RecentRefusals;
use super::silence::Silence;
use crate::link::Session;
use crate::options::RabbitMqOptions;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit};
use tramline_core::Result;

/// How old a channel must be to be given up because a queue took nothing: elections are over by then,
/// and a queue that is full costs no more than a channel a second.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(1);

/// Opens the channel when it is first needed, and another when the broker closed it or when it was given
/// up.
pub(crate) struct Publisher {
    window: Arc<Semaphore>,
    window_max: usize,
    present: Mutex<Option<Arc<Present>>>,
    over_tls: bool,
    pub(super) recent_refusals: RecentRefusals,
    /// One opens at a time.
    opening: tokio::sync::Mutex<()>,
}

/// The channel of the present connection, and what is known to be there.
pub(crate) struct Present {
    pub(super) session: Session,
    opened: Instant,
    is_given_up: AtomicBool,
    pub(crate) channel: ConfirmChannel,
    pub(crate) prepared: Prepared,
    silence: Arc<Silence>,
}

impl Publisher {
    /// One that lets as many messages be in flight as `options` say.
    pub(crate) fn new(options: &RabbitMqOptions) -> Self {
        Self {
            window: Arc::new(Semaphore::new(options.unconfirmed_max as usize)),
            window_max: options.unconfirmed_max as usize,
            present: Mutex::new(None),
            over_tls: options.tls.is_some(),
            recent_refusals: RecentRefusals::default(),
            opening: tokio::sync::Mutex::new(()),
        }
    }

    /// A place in the window, unless it is full.
    pub(crate) fn place_at_once(&self) -> Option<SemaphorePermit<'_>> {
        self.window.try_acquire().ok()
    }

    /// A place in the window; waits while it is full. Cancel-safe.
    pub(crate) async fn place(&self) -> SemaphorePermit<'_> {
        self.window.acquire().await.expect("the window is never closed")
    }

    /// The channel of the present connection, if that takes messages now.
    pub(crate) fn ready(&self) -> Option<Arc<Present>> {
        let present = self.present.lock();
        let present = present.as_ref().filter(|present| {
            let session = &present.session;
            !session.has_ended() && !session.is_blocked() && present.is_usable()
        });
        present.cloned()
    }

    /// The channel on `session`.
    ///
    /// # Errors
    /// The connection is gone, or the broker has no more channels.
    pub(crate) async fn on(&self, session: &Session) -> Result<Arc<Present>> {
        if let Some(present) = self.open_on(session) {
            return Ok(present);
        }
        // Boxed, as it is seldom done: a send is to be small.
        Box::pin(self.open(session)).await
    }

    async fn open(&self, session: &Session) -> Result<Arc<Present>> {
        let _turn = self.opening.lock().await;
        if let Some(present) = self.open_on(session) {
            return Ok(present);
        }
        let silence = self.silence_on(session);
        let present = Arc::new(Present {
            session: session.clone(),
            channel: self.channel_on(session, &silence).await?,
            prepared: Prepared::new(session.clone()),
            opened: Instant::now(),
            is_given_up: AtomicBool::new(false),
            silence,
        });
        *self.present.lock() = Some(present.clone());
        Ok(present)
    }

    async fn channel_on(
        &self,
        session: &Session,
        silence: &Arc<Silence>,
    ) -> Result<ConfirmChannel> {
        let window = (self.window.clone(), self.window_max);
        ConfirmChannel::open(session.clone(), silence, window, self.over_tls).await
    }

    /// That of the channels before on the same connection.
    fn silence_on(&self, session: &Session) -> Arc<Silence> {
        let present = self.present.lock();
        let before = present.as_ref().filter(|one| one.session.number() == session.number());
        before.map_or_else(|| Silence::on(session.clone()), |one| one.silence.clone())
    }

    fn open_on(&self, session: &Session) -> Option<Arc<Present>> {
        let present = self.present.lock();
        let present = present
            .as_ref()
            .filter(|present| present.session.number() == session.number() && present.is_usable());
        present.cloned()
    }
}

impl Present {
    fn is_usable(&self) -> bool {
        self.channel.is_open() && !self.is_given_up.load(Ordering::Relaxed)
    }

    /// Takes down that a queue took nothing on this channel, which is then used no more unless it is
    /// young. What is under way on it has its answer all the same.
    ///
    /// A channel that publishes to a quorum queue for the first time after the queue's leader has died,
    /// and before the next one is known, asks for nobody but the dead one: until that comes back it
    /// refuses everything for the queue (RabbitMQ 3.10). A new channel asks for the new leader.
    pub(crate) fn refuses(&self) {
        if self.opened.elapsed() >= GIVEN_UP_AFTER {
            self.is_given_up.store(true, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("places", &self.window.available_permits()).finish()
    }
}
