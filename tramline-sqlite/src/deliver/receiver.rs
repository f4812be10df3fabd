//! Takes messages ahead, hands them out one by one, and sleeps while there are none.

use super::claim::{CLAIM_BYTES_MAX, Claim, Claimed, Found, Taken};
use super::delivery::SqliteDelivery;
use super::held::Held;
use crate::open::core::Core;
use crate::open::session::Session;
use crate::writer::WriteError;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::oneshot;
use tramline_core::Result;
use tramline_core::clock::Timestamp;
use tramline_core::rows::Bell;
use tramline_core::rows::Pace;
use tramline_core::rows::{Reserved, Slots};
use tramline_core::transport::{Receiver, Source};

/// Reads one queue of a file, or its dead letters.
///
/// Takes up to its prefetch ahead, in one step of the writer for many messages. Dropped, it gives
/// back what it took and did not hand out.
pub struct SqliteReceiver {
    core: Arc<Core>,
    session: Arc<Session>,
    queue: i64,
    dead: bool,
    slots: Arc<Slots>,
    pace: Pace,
    bell: Arc<Bell>,
    buffer: VecDeque<(Taken, Held)>,
    /// Bytes of the bodies in the buffer.
    buffered_bytes: usize,
    claim: Option<UnderWay>,
    /// Set while the queue is known to be empty.
    rest: Option<Rest>,
    stopped: bool,
}

/// A claim that the writer has not answered yet.
struct UnderWay {
    answer: oneshot::Receiver<Result<Claimed, WriteError>>,
    /// What the bell had rung when the claim was sent: what rings later is news.
    rung: u64,
}

/// There was nothing more to take.
struct Rest {
    rung: u64,
    until: Option<Timestamp>,
}

impl SqliteReceiver {
    pub(crate) fn new(
        core: Arc<Core>,
        session: Arc<Session>,
        queue: i64,
        dead: bool,
        source: &Source,
    ) -> Self {
        Self {
            bell: core.shared.hub.bell(queue),
            slots: Slots::new(source.prefetch.max(1) as usize),
            pace: Pace::new(source.prefetch, source.prefetch_max),
            core,
            session,
            queue,
            dead,
            buffer: VecDeque::new(),
            buffered_bytes: 0,
            claim: None,
            rest: None,
            stopped: false,
        }
    }

    /// Asks for more if at least `worth` slots are free and there may be more.
    async fn refill(&mut self, worth: usize) -> Result<()> {
        if self.claim.is_some() || self.stopped || self.is_at_rest() {
            return Ok(());
        }
        // Whatever it waits for from here on, it is no longer for news.
        self.rest = None;
        let Some(reserved) = self.slots.reserve(worth) else { return Ok(()) };
        // Waits only for room in the writer's channel; dropped there, no claim was made.
        let permit = self.core.jobs.reserve().await.map_err(|_| self.core.shared.closed())?;
        let (claim, under_way) = self.claim(reserved);
        permit.send(Box::new(claim));
        self.slots.resize(self.pace.claims(self.core.shared.settings.clock.now()));
        self.claim = Some(under_way);
        Ok(())
    }

    fn claim(&self, reserved: Reserved) -> (Claim, UnderWay) {
        let (reply, answer) = oneshot::channel();
        let claim = Claim {
            core: self.core.clone(),
            session: self.session.clone(),
            queue: self.queue,
            dead: self.dead,
            reserved,
            reply,
            found: Found::default(),
        };
        (claim, UnderWay { answer, rung: self.bell.rung() })
    }

    fn is_at_rest(&self) -> bool {
        let now = || self.core.shared.settings.clock.now();
        self.rest.as_ref().is_some_and(|rest| {
            rest.rung == self.bell.rung() && rest.until.is_none_or(|until| until > now())
        })
    }

    fn take_in(&mut self, claimed: Claimed, rung: u64) {
        let Claimed { messages, emptied, next_due } = claimed;
        let bodies = messages.iter().map(|(taken, _)| taken.body.len());
        self.buffered_bytes += bodies.sum::<usize>();
        self.buffer.extend(messages);
        self.rest = emptied.then_some(Rest { rung, until: next_due });
        if emptied {
            self.pace.rests();
        }
    }

    /// Ends when it may be worth to ask again: something rang, a message is due, or a slot is
    /// free.
    async fn wait(&self) {
        let Some(rest) = &self.rest else {
            tokio::select! {
                () = self.slots.freed() => {}
                () = self.session.closed() => {}
            }
            return;
        };
        let due = async {
            match rest.until {
                Some(until) => self.core.shared.settings.clock.sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.bell.rings_after(rest.rung) => {}
            () = due => {}
            () = self.session.closed() => {}
        }
    }
}

impl Receiver for SqliteReceiver {
    type Delivery = SqliteDelivery;

    async fn next(&mut self) -> Result<Option<SqliteDelivery>> {
        loop {
            if self.session.is_closed() {
                // What was taken went back when the session was closed.
                self.buffer.clear();
                return Ok(None);
            }
            if !self.buffer.is_empty() {
                if self.buffered_bytes < CLAIM_BYTES_MAX / 2 {
                    let half = self.slots.half();
                    self.refill(half).await?;
                }
                if let Some((taken, held)) = self.buffer.pop_front() {
                    self.buffered_bytes -= taken.body.len();
                    return Ok(Some(SqliteDelivery::open(taken, held, self.dead)));
                }
            }
            if let Some(UnderWay { answer, rung }) = &mut self.claim {
                let (answer, rung) = (answer.await, *rung);
                self.claim = None;
                let claimed = answer.unwrap_or_else(|_| Err(WriteError::stopped()));
                self.take_in(claimed.map_err(WriteError::into_error)?, rung);
                continue;
            }
            if self.stopped {
                return Ok(None);
            }
            self.refill(1).await?;
            if self.claim.is_none() {
                self.wait().await;
            }
        }
    }

    async fn stop(&mut self) -> Result<()> {
        self.stopped = true;
        Ok(())
    }
}
