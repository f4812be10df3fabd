//! The relay's loop: claim, send, wait for the confirms, remove.

use crate::relay::held::Held;
use crate::relay::waves::waves;
use crate::retry::Retry;
use crate::stopping::Stopping;
use crate::unrouted::Unrouted;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::clock::{Deadline, Timestamp};
use tramline_core::compose::Composer;
use tramline_core::erased::{DynSender, DynStore};
use tramline_core::store::{OutboxRow, OutboxToken};
use tramline_core::transport::Sent;
use tramline_core::{Error, ErrorKind, Result};

/// What a relay works with.
pub(crate) struct Relay {
    pub(crate) store: Arc<dyn DynStore>,
    pub(crate) sender: Arc<dyn DynSender>,
    pub(crate) composer: Arc<Composer>,
    pub(crate) send_limit: Duration,
    pub(crate) unrouted: Arc<Unrouted>,
    pub(crate) stopping: Stopping,
    /// Waves in a row that the transport could not take.
    pub(crate) unavailable: u32,
}

/// Rows in one batch.
const BATCH_MAX: u32 = 500;
/// For how long claimed rows are ours; longer than any send may take.
const LEASE: Duration = Duration::from_secs(60);
/// How often to look without being woken.
const POLL: Duration = Duration::from_secs(5);
/// How long a store that fails is left alone.
const PAUSE: Duration = Duration::from_secs(1);
/// The least pause before a row that is due, and yet could not be claimed, is tried again.
const POLL_MIN: Duration = Duration::from_millis(10);
/// After how many failed sends a row waits for an operator.
const ATTEMPTS_MAX: u32 = 10;

/// Relays until the bus stops.
///
/// Dies the process between a confirm and the removal of its row, the row is sent again under the
/// same id: the consumer's inbox knows it.
pub(crate) async fn relay(mut relay: Relay) {
    while !relay.stopping.has_begun() {
        match relay.pass().await {
            Ok(true) => {}
            Ok(false) => relay.wait().await,
            Err(error) if relay.stopping.heed(&error) => return,
            Err(error) => {
                tracing::error!(%error, "the relay failed; going on after a pause");
                relay.pause().await;
            }
        }
    }
}

impl Relay {
    /// One batch; answers whether there was any.
    async fn pass(&mut self) -> Result<bool> {
        let now = self.now();
        let lease = LEASE.max(2 * self.send_limit);
        let rows = self.store.outbox_dyn().claim(BATCH_MAX, lease, now).await?;
        let any = !rows.is_empty();
        let mut held = Held::default();
        let mut sent = Ok(());
        for wave in waves(rows) {
            // A long run of one key must not outlast its lease: somebody else would send the rest
            // beside us. The first wave is sent in any case, so that something moves.
            let is_late = self.now().since(now) + self.send_limit > lease;
            // Nor must rows be kept that nobody sends, because the store has failed for others.
            if is_late || sent.is_err() {
                held.back.extend(wave.iter().map(|row| (row.token, self.now())));
            } else {
                sent = self.send(wave, &mut held).await;
            }
        }
        self.give_back(held.back).await?;
        sent.map(|()| any)
    }

    /// Sends one wave. Rows of a key that failed earlier in this batch are held back with it.
    async fn send(&mut self, wave: Vec<OutboxRow>, held: &mut Held) -> Result<()> {
        let wave = held.keep_back(wave);
        if wave.is_empty() {
            return Ok(());
        }
        let batch: Vec<_> = wave.iter().map(|row| row.outgoing.clone()).collect();
        let deadline = Deadline::after(self.now(), self.send_limit);
        let answers = self.sender.send_dyn(&batch, deadline).await;
        let unanswered = || {
            let doing = "send what was published: there was no answer";
            Sent::Unknown(Error::new(ErrorKind::TimedOut, doing))
        };
        let answers = answers.into_iter().chain(std::iter::repeat_with(unanswered));
        let mut sent: Vec<OutboxToken> = Vec::with_capacity(wave.len());
        let mut failed = Vec::new();
        for (row, answer) in wave.iter().zip(answers) {
            match answer {
                Sent::Accepted { routed } => {
                    if routed == Some(false) {
                        self.unrouted.count(&row.outgoing.to);
                    }
                    sent.push(row.token);
                }
                Sent::Refused(error) | Sent::Unknown(error) => failed.push((row, error)),
            }
        }
        // What is safe is removed first: whatever fails below, it is not sent twice for that.
        let mut noted = self.store.outbox_dyn().sent(&sent).await;
        let is_unavailable = failed.iter().any(|(_, error)| may_pass(error));
        self.unavailable = if is_unavailable { self.unavailable.saturating_add(1) } else { 0 };
        for (row, error) in failed {
            // Each for itself: a row that nobody gives back waits until its lease ends.
            noted = noted.and(self.failed(row, &error, held).await);
        }
        noted
    }

    /// Later, or never without an operator. A transport that is down, a queue that is full, or one
    /// that this program is too old for says nothing about the row: such failures do not bring it
    /// closer to being parked.
    async fn failed(&self, row: &OutboxRow, error: &Error, held: &mut Held) -> Result<()> {
        let (id, to) = (&row.outgoing.envelope.id, &row.outgoing.to);
        let (token, text) = (row.token, error.to_string());
        if self.stopping.heed(error) {
            held.back.push((token, self.now()));
            return Err(error.clone());
        }
        if may_pass(error) {
            tracing::warn!(?id, %to, %error, "the relay could not send");
            let until = self.later(self.unavailable);
            held.hold(row, until);
            held.back.push((token, until));
            return Ok(());
        }
        let attempts = row.attempts.saturating_add(1);
        tracing::warn!(?id, %to, attempts, %error, "the relay was refused");
        let until = self.later(attempts);
        held.hold(row, until);
        if attempts >= ATTEMPTS_MAX {
            tracing::error!(?id, %to, "parked until an operator releases it");
            return self.store.outbox_dyn().park(token, &text).await;
        }
        self.store.outbox_dyn().postpone(token, until, &text).await
    }

    /// Gives rows back uncharged, those together that wait for the same moment.
    async fn give_back(&self, mut rows: Vec<(OutboxToken, Timestamp)>) -> Result<()> {
        rows.sort_by_key(|(token, until)| (*until, token.row));
        for alike in rows.chunk_by(|(_, one), (_, other)| one == other) {
            let tokens: Vec<_> = alike.iter().map(|(token, _)| *token).collect();
            self.store.outbox_dyn().give_back(&tokens, alike[0].1).await?;
        }
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.composer.clock.now()
    }

    /// After a pause that grows with every failure.
    fn later(&self, failures: u32) -> Timestamp {
        let policy = Retry::exponential(Duration::from_millis(100)).max(Duration::from_secs(30));
        let fraction = 0.5 + self.composer.entropy.fraction() / 2.0;
        let pause = policy.jitter().runs(u32::MAX).pause(failures.max(1), fraction);
        self.now().after(pause.unwrap_or_default())
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
            () = self.stopping.begun() => {}
            () = self.store.outbox_dyn().appended() => {}
            () = clock.sleep_until(due) => {}
        }
    }

    /// A store that fails is not asked again at once, whatever is appended or due.
    async fn pause(&self) {
        let clock = &self.composer.clock;
        tokio::select! {
            biased;
            () = self.stopping.begun() => {}
            () = clock.sleep_until(clock.now().after(PAUSE)) => {}
        }
    }
}

/// Whether the same row may be taken later as it is.
fn may_pass(error: &Error) -> bool {
    error.is_transient() || error.kind() == ErrorKind::Full
}
