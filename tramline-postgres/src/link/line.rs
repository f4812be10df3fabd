//! One connection, made again when it was lost.

use super::backoff::Backoff;
use super::connected::Connected;
use super::connecting;
use super::target::Target;
use crate::error::failed;
use crate::options::Settings;
use futures_util::StreamExt;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_postgres::AsyncMessage;
use tramline_core::Result;
use tramline_core::clock::{Clock, Entropy, Timestamp};

/// Told of what the server says without being asked.
pub(crate) type Hear = dyn Fn(AsyncMessage) + Send + Sync;

/// A connection for one purpose. Whoever finds it lost makes it anew, and the others wait for him.
pub(crate) struct Line {
    target: Arc<Target>,
    purpose: &'static str,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    hear: Option<Arc<Hear>>,
    connected: Mutex<Option<Arc<Connected>>>,
    connecting: tokio::sync::Mutex<Backoff>,
    /// There is no connection although there should be.
    lost: Arc<Mutex<Option<Lost>>>,
}

/// How it stands with a connection that is lost.
#[derive(Debug)]
struct Lost {
    down: Down,
    /// When it was lost, or could not be made the last time.
    seen: Timestamp,
}

/// For how long a loss counts of which nobody has heard any more: who needs the connection tries more often, and
/// what nobody has needed since may well be there again.
const COUNTS: Duration = Duration::from_secs(15);

/// Since when a connection is lost, and why.
#[derive(Clone, Debug)]
pub(crate) struct Down {
    pub(crate) since: Timestamp,
    pub(crate) why: String,
}

impl Line {
    pub(crate) fn new(target: Arc<Target>, purpose: &'static str, settings: &Settings) -> Self {
        Self {
            target,
            purpose,
            clock: settings.clock.clone(),
            entropy: settings.entropy.clone(),
            hear: None,
            connected: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            lost: Arc::default(),
        }
    }

    /// Tells `hear` what the server says without being asked: notifications and notices.
    pub(crate) fn heard_by(mut self, hear: Arc<Hear>) -> Self {
        self.hear = Some(hear);
        self
    }

    /// Since when, and why, it is lost, if it is as far as is known.
    pub(crate) fn down(&self) -> Option<Down> {
        let lost = self.lost.lock();
        let counts = |lost: &&Lost| self.clock.now().since(lost.seen) < COUNTS;
        lost.as_ref().filter(counts).map(|lost| lost.down.clone())
    }

    /// The connection, made now if there is none. One attempt. Cancel-safe.
    ///
    /// # Errors
    /// The server cannot be reached or refuses us.
    pub(crate) async fn try_connected(&self) -> Result<Arc<Connected>> {
        if let Some(connected) = self.live() {
            return Ok(connected);
        }
        let mut backoff = self.connecting.lock().await;
        match self.live() {
            Some(connected) => Ok(connected),
            None => self.connect(&mut backoff).await,
        }
    }

    /// The connection, made now if there is none, for as long as that takes. Cancel-safe.
    ///
    /// # Errors
    /// The server refuses us in a way that does not pass by itself.
    pub(crate) async fn connected(&self) -> Result<Arc<Connected>> {
        if let Some(connected) = self.live() {
            return Ok(connected);
        }
        let mut backoff = self.connecting.lock().await;
        loop {
            if let Some(connected) = self.live() {
                return Ok(connected);
            }
            match self.connect(&mut backoff).await {
                Ok(connected) => return Ok(connected),
                Err(error) if !error.is_transient() => return Err(error),
                Err(error) => {
                    let pause = backoff.failed(self.entropy.fraction());
                    tracing::warn!(%error, purpose = self.purpose, "not connected: trying again");
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Lets go of the connection: the next one who asks makes a new one.
    pub(crate) fn hang_up(&self) {
        *self.connected.lock() = None;
    }

    fn live(&self) -> Option<Arc<Connected>> {
        self.connected.lock().as_ref().filter(|connected| !connected.is_closed()).cloned()
    }

    async fn connect(&self, backoff: &mut Backoff) -> Result<Arc<Connected>> {
        let connected = self.attempt().await.inspect_err(|error| {
            let (why, seen) = (error.to_string(), self.clock.now());
            let mut lost = self.lost.lock();
            let since = lost.take().map_or(seen, |lost| lost.down.since);
            *lost = Some(Lost { down: Down { since, why }, seen });
        })?;
        let connected = Arc::new(connected);
        *self.lost.lock() = None;
        *backoff = Backoff::default();
        *self.connected.lock() = Some(connected.clone());
        Ok(connected)
    }

    async fn attempt(&self) -> Result<Connected> {
        let (client, mut messages) = connecting::connect(&self.target).await?;
        let (hear, purpose, target) = (self.hear.clone(), self.purpose, self.target.clone());
        let (clock, lost) = (self.clock.clone(), self.lost.clone());
        let (ends, ended) = watch::channel(());
        // Ends with the client, or with the connection.
        tokio::spawn(async move {
            let _ends = ends;
            while let Some(message) = messages.next().await {
                match message {
                    Ok(message) => {
                        if let Some(hear) = &hear {
                            hear(message);
                        }
                    }
                    Err(error) => {
                        let why = crate::error::words(&error);
                        tracing::warn!(%target, purpose, why, "disconnected");
                        let seen = clock.now();
                        *lost.lock() = Some(Lost { down: Down { since: seen, why }, seen });
                        return;
                    }
                }
            }
        });
        // Others may have been at work while a function waited for its turn: it has to see what they did.
        const SEES_OTHERS: &str =
            "SELECT set_config('default_transaction_isolation', 'read committed', false)
            WHERE current_setting('default_transaction_isolation') <> 'read committed'";
        if let Err(error) = client.batch_execute(SEES_OTHERS).await {
            return Err(failed(format!("connect to {}", self.target), &error));
        }
        Ok(Connected::new(client, ended))
    }
}
