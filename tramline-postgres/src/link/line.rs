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
    /// Since when, and why, there is no connection although there should be.
    down: Arc<Mutex<Option<Down>>>,
}

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
            down: Arc::default(),
        }
    }

    /// Tells `hear` what the server says without being asked: notifications and notices.
    pub(crate) fn heard_by(mut self, hear: Arc<Hear>) -> Self {
        self.hear = Some(hear);
        self
    }

    /// Since when, and why, it is lost, if it is.
    pub(crate) fn down(&self) -> Option<Down> {
        self.down.lock().clone()
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
            let why = error.to_string();
            self.down
                .lock()
                .get_or_insert(Down { since: self.clock.now(), why: String::new() })
                .why = why;
        })?;
        let connected = Arc::new(connected);
        *self.down.lock() = None;
        *backoff = Backoff::default();
        *self.connected.lock() = Some(connected.clone());
        Ok(connected)
    }

    async fn attempt(&self) -> Result<Connected> {
        let (client, mut messages) = connecting::connect(&self.target).await?;
        let (hear, purpose, target) = (self.hear.clone(), self.purpose, self.target.clone());
        let (clock, down) = (self.clock.clone(), self.down.clone());
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
                        *down.lock() = Some(Down { since: clock.now(), why });
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
