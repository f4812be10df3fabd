//! The relay's loop: claim, send, wait for the confirms, remove.

use crate::relay::waves::waves;
use crate::retry::Retry;
use crate::unrouted::Unrouted;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tramline_core::clock::Deadline;
use tramline_core::compose::Composer;
use tramline_core::erased::{DynSender, DynStore};
use tramline_core::store::{OutboxRow, OutboxToken};
use tramline_core::transport::Sent;
use tramline_core::{Error, Result};

/// What a relay works with.
pub(crate) struct Relay {
    pub(crate) store: Arc<dyn DynStore>,
    pub(crate) sender: Arc<dyn DynSender>,
    pub(crate) composer: Arc<Composer>,
    pub(crate) send_limit: Duration,
    pub(crate) unrouted: Arc<Unrouted>,
    pub(crate) stopping: CancellationToken,
}

/// Rows in one batch.
const BATCH_MAX: u32 = 500;
/// For how long claimed rows are ours; longer than any send may take.
const LEASE: Duration = Duration::from_secs(60);
/// How often to look without being woken.
const POLL: Duration = Duration::from_secs(1);
/// The least pause before a row that is due, and yet could not be claimed, is tried again.
const POLL_MIN: Duration = Duration::from_millis(10);
/// After how many failed sends a row waits for an operator.
const ATTEMPTS_MAX: u32 = 10;

/// Relays until the bus stops.
///
/// Dies the process between a confirm and the removal of its row, the row is sent again under the
/// same id: the consumer's inbox knows it.
pub(crate) async fn relay(relay: Relay) {
    while !relay.stopping.is_cancelled() {
        match relay.pass().await {
            Ok(true) => {}
            Ok(false) => relay.wait().await,
            Err(error) => {
                tracing::error!(%error, "the relay failed; going on after a pause");
                relay.pause().await;
            }
        }
    }
}

impl Relay {
    /// One batch; answers whether there was any.
    async fn pass(&self) -> Result<bool> {
        let now = self.composer.clock.now();
        let rows = self.store.outbox_dyn().claim(BATCH_MAX, LEASE, now).await?;
        let any = !rows.is_empty();
        let mut held: HashSet<String> = HashSet::new();
        for wave in waves(rows) {
            self.send(wave, &mut held).await?;
        }
        Ok(any)
    }

    /// Sends one wave. Rows of a key that failed earlier in this batch are held back with it.
    async fn send(&self, wave: Vec<OutboxRow>, held: &mut HashSet<String>) -> Result<()> {
        let is_held =
            |row: &OutboxRow| row.outgoing.envelope.key.as_ref().is_some_and(|k| held.contains(k));
        let (held_back, wave): (Vec<_>, Vec<_>) = wave.into_iter().partition(is_held);
        for row in held_back {
            self.put_back(&row, "a message of the same key waits").await?;
        }
        if wave.is_empty() {
            return Ok(());
        }
        let batch: Vec<_> = wave.iter().map(|row| row.outgoing.clone()).collect();
        let deadline = Deadline::after(self.composer.clock.now(), self.send_limit);
        let answers = self.sender.send_dyn(&batch, deadline).await;
        let mut sent: Vec<OutboxToken> = Vec::with_capacity(wave.len());
        for (row, answer) in wave.iter().zip(answers) {
            match answer {
                Sent::Accepted { routed } => {
                    if routed == Some(false) {
                        self.unrouted.count(&row.outgoing.to);
                    }
                    sent.push(row.token);
                }
                Sent::Refused(error) | Sent::Unknown(error) => {
                    held.extend(row.outgoing.envelope.key.clone());
                    self.failed(row, &error).await?;
                }
            }
        }
        self.store.outbox_dyn().sent(&sent).await
    }

    /// Later, or never without an operator.
    async fn failed(&self, row: &OutboxRow, error: &Error) -> Result<()> {
        let (id, to) = (&row.outgoing.envelope.id, &row.outgoing.to);
        tracing::warn!(?id, %to, attempts = row.attempts + 1, %error, "the relay could not send");
        if row.attempts + 1 >= ATTEMPTS_MAX && !error.is_transient() {
            tracing::error!(?id, %to, "parked until an operator releases it");
            return self.store.outbox_dyn().park(row.token, &error.to_string()).await;
        }
        self.put_back(row, &error.to_string()).await
    }

    async fn put_back(&self, row: &OutboxRow, error: &str) -> Result<()> {
        let policy = Retry::exponential(Duration::from_millis(100)).max(Duration::from_secs(30));
        let fraction = 0.5 + self.composer.entropy.fraction() / 2.0;
        let pause =
            policy.jitter().runs(u32::MAX).pause(row.attempts + 1, fraction).unwrap_or_default();
        let until = self.composer.clock.now().after(pause);
        self.store.outbox_dyn().postpone(row.token, until, error).await
    }

    /// Until something is appended, a row becomes due, or it is time to look anyway.
    async fn wait(&self) {
        let clock = &self.composer.clock;
        let due = self.store.outbox_dyn().next_due().await;
        // Asked after the answer, which may have taken long.
        let now = clock.now();
        let due = match due {
            Ok(Some(due)) => due.clamp(now.after(POLL_MIN), now.after(POLL)),
            Ok(None) | Err(_) => now.after(POLL),
        };
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => {}
            () = self.store.outbox_dyn().appended() => {}
            () = clock.sleep_until(due) => {}
        }
    }

    /// A store that fails is not asked again at once, whatever is appended or due.
    async fn pause(&self) {
        let clock = &self.composer.clock;
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => {}
            () = clock.sleep_until(clock.now().after(POLL)) => {}
        }
    }
}
