//! A message in the hands of a handler.

use super::claim::Taken;
use super::ending::SettleJob;
use super::held::Held;
use super::settle::{self, Place};
use crate::queue::sql::{BORN_HERE, DIRECT};
use crate::writer::{Plan, Work, WriteError};
use std::sync::Arc;
use std::time::Duration;
use tramline_core::dead::{FailureNote, History, Reason};
use tramline_core::envelope::Envelope;
use tramline_core::rows::{self, Charge, forget_via, read_envelope, read_history};
use tramline_core::settlement::{Marks, Settled, Settlement};
use tramline_core::transport::{Delivery, Ticket};
use tramline_core::{Error, ErrorKind, Result};

/// A message that was taken from a queue in a file.
///
/// Dropped, it goes back to its place in the queue with the writer's next commit. When the process
/// dies, that happens as soon as another process on the file looks, or the next one starts.
#[must_use = "an unsettled delivery comes back"]
pub struct SqliteDelivery {
    envelope: Arc<Envelope>,
    failures: u32,
    deliveries: u32,
    history: History,
    marks: Marks,
    born_here: bool,
    dead: bool,
    held: Held,
}

impl SqliteDelivery {
    pub(super) fn open(taken: Taken, held: Held, dead: bool) -> Self {
        let seq = taken.seq;
        let unreadable = |error: Error| tracing::error!(%error, seq, "a message is not readable");
        let history = read_history(taken.history.as_deref()).unwrap_or_else(|error| {
            unreadable(error);
            History::new()
        });
        let envelope = read_envelope(&taken.envelope, taken.body.clone());
        let mut envelope = envelope.unwrap_or_else(|error| {
            unreadable(error);
            rows::unreadable(taken.body)
        });
        if dead || taken.flags & DIRECT != 0 {
            forget_via(&mut envelope);
        }
        Self {
            envelope: Arc::new(envelope),
            failures: taken.failures,
            deliveries: taken.deliveries,
            history,
            marks: taken.marks,
            born_here: taken.flags & BORN_HERE != 0,
            dead,
            held,
        }
    }

    fn place(&self) -> Place {
        let lease = &self.held.lease;
        Place { queue: lease.queue, seq: self.held.seq, token: lease.token }
    }

    /// Runs a settlement. Once the writer has it, it takes place even if the future is dropped.
    async fn write(
        self,
        durable: bool,
        settle: impl FnMut(&Work<'_>) -> Result<Settled> + Send + 'static,
    ) -> Result<Settled> {
        let core = self.held.lease.core.clone();
        let (job, settled) = SettleJob::new(self.held, durable, settle);
        core.submit(Box::new(job)).await.map_err(WriteError::into_error)?;
        let settled = settled.await.unwrap_or_else(|_| Err(WriteError::stopped()));
        settled.map_err(WriteError::into_error)
    }

    async fn retry(
        self,
        after: Duration,
        failures: u32,
        notes: Vec<FailureNote>,
        marks: Marks,
    ) -> Result<Settled> {
        if self.dead && !after.is_zero() {
            return Err(Error::unsupported("a retry of dead letters after a pause", "sqlite"));
        }
        let charge = Charge::new(&self.history, failures, notes, marks)?;
        let place = self.place();
        let due = self.held.lease.core.shared.settings.clock.now().after(after);
        self.write(true, move |work| settle::retry(work, place, due, &charge)).await
    }

    async fn bury(
        self,
        reason: &Reason,
        failures: u32,
        notes: Vec<FailureNote>,
    ) -> Result<Settled> {
        let charge = Charge::new(&self.history, failures, notes, self.marks)?;
        let place = self.place();
        let name = self.envelope.name.as_deref().unwrap_or_default().to_owned();
        let reason = reason.as_str().to_owned();
        let bury = move |work: &Work<'_>| settle::bury(work, place, &name, &reason, &charge);
        self.write(true, bury).await
    }
}

impl Delivery for SqliteDelivery {
    fn envelope(&self) -> &Arc<Envelope> {
        &self.envelope
    }

    fn failures(&self) -> u32 {
        self.failures
    }

    fn deliveries(&self) -> Option<u32> {
        Some(self.deliveries)
    }

    fn history(&self) -> &[FailureNote] {
        self.history.notes()
    }

    fn marks(&self) -> Marks {
        self.marks
    }

    fn ticket(&self) -> Option<Ticket> {
        let Place { queue, seq, token } = self.place();
        let database = self.held.lease.core.shared.database.clone();
        Some(Ticket { database, queue, row: seq, token, born_here: self.born_here })
    }

    async fn mark_trial(&mut self) -> Result<()> {
        let place = self.place();
        let core = &self.held.lease.core;
        let marked = core.write(Plan::durable(1), move |work| settle::mark_trial(work, place));
        match marked.await.map_err(WriteError::into_error)? {
            Settled::Done => {
                self.marks.trials += 1;
                Ok(())
            }
            Settled::LeaseLost => {
                let doing = "mark the trial of a message: its lease is lost";
                Err(Error::new(ErrorKind::Conflict, doing))
            }
        }
    }

    fn lost(&self) -> impl Future<Output = ()> + Send {
        self.held.lease.lost()
    }

    async fn settle(self, how: Settlement) -> Result<Settled> {
        let place = self.place();
        let Place { seq, token, .. } = place;
        match how {
            Settlement::Ack => self.write(false, move |work| settle::ack(work, place)).await,
            Settlement::Return => {
                self.write(false, move |work| settle::give_back(work, token, seq)).await
            }
            Settlement::Retry { after, failures, notes, marks } => {
                self.retry(after, failures, notes, marks).await
            }
            Settlement::DeadLetter { reason, failures, notes } => {
                self.bury(&reason, failures, notes).await
            }
        }
    }

    fn settled_by_store(mut self) {
        self.held.settled();
    }
}
