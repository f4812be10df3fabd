//! A message in the hands of a handler.

use super::ending::{Ending, How};
use super::held::Held;
use super::settling::Job;
use super::taken::Taken;
use crate::error::failed;
use crate::send::{BORN_HERE, DIRECT};
use std::sync::Arc;
use std::time::Duration;
use tramline_core::dead::{FailureNote, History, Reason};
use tramline_core::envelope::Envelope;
use tramline_core::rows::{self, Charge, forget_via, read_envelope, read_history};
use tramline_core::settlement::{Marks, Settled, Settlement};
use tramline_core::transport::{Delivery, Ticket};
use tramline_core::{Error, ErrorKind, Result};

/// A message that was taken from a queue of a database.
///
/// Dropped, it can be taken again with the next commit. When the process dies, that is within a few
/// seconds, or when its lease has ended if no other process can see that it died.
#[must_use = "an unsettled delivery comes back"]
pub struct PostgresDelivery {
    envelope: Arc<Envelope>,
    failures: u32,
    deliveries: u32,
    history: History,
    marks: Marks,
    born_here: bool,
    held: Held,
}

impl PostgresDelivery {
    pub(super) fn open(taken: Taken, held: Held) -> Self {
        let place = taken.place;
        let unreadable = |error: Error| tracing::error!(%error, place, "a message is not readable");
        let history = read_history(taken.history.as_deref()).unwrap_or_else(|error| {
            unreadable(error);
            History::new()
        });
        let envelope = read_envelope(&taken.envelope, taken.body.clone());
        let mut envelope = envelope.unwrap_or_else(|error| {
            unreadable(error);
            rows::unreadable(taken.body)
        });
        let flags = i32::from(taken.flags);
        if held.lease.dead || flags & DIRECT != 0 {
            forget_via(&mut envelope);
        }
        Self {
            envelope: Arc::new(envelope),
            failures: taken.failures,
            deliveries: taken.deliveries,
            history,
            marks: taken.marks,
            born_here: flags & BORN_HERE != 0,
            held,
        }
    }

    /// Once it is handed over, the settlement takes place even if the future is dropped.
    async fn end(self, how: How) -> Result<Settled> {
        let core = self.held.lease.core.clone();
        let (ending, answer) = Ending::new(self.held, how);
        core.settling.submit(&core, Job::Ending(ending));
        answer.await.unwrap_or_else(|_| {
            let doing = "settle a message: the runtime that settles has ended";
            Err(Error::new(ErrorKind::Unavailable, doing))
        })
    }

    async fn retry(
        self,
        after: Duration,
        failures: u32,
        notes: Vec<FailureNote>,
        marks: Marks,
    ) -> Result<Settled> {
        if self.held.lease.dead && !after.is_zero() {
            return Err(Error::unsupported("a retry of dead letters after a pause", "postgres"));
        }
        let charge = Charge::new(&self.history, failures, notes, marks)?;
        let after = i64::try_from(after.as_micros()).unwrap_or(i64::MAX / 2);
        self.end(How::Retry(after, charge)).await
    }

    async fn bury(
        self,
        reason: &Reason,
        failures: u32,
        notes: Vec<FailureNote>,
    ) -> Result<Settled> {
        let charge = Charge::new(&self.history, failures, notes, self.marks)?;
        let name = self.envelope.name.as_deref().unwrap_or_default().replace('\0', "");
        let reason = reason.as_str().replace('\0', "");
        self.end(How::Bury { name, reason, charge }).await
    }
}

impl Delivery for PostgresDelivery {
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
        let lease = &self.held.lease;
        // A dead letter has its own table, where no transaction of a handler looks.
        (!lease.dead).then(|| Ticket {
            database: lease.core.database.clone(),
            queue: lease.queue.into(),
            row: self.held.place,
            token: self.held.epoch.into(),
            born_here: self.born_here,
        })
    }

    async fn mark_trial(&mut self) -> Result<()> {
        const MARK: &str = "SELECT tramline.mark_trial($1, $2, $3, $4)";
        let lease = &self.held.lease;
        let doing = "mark the trial of a message";
        let connected = lease.core.operating.connected().await?;
        let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
            &[&lease.dead, &lease.queue, &self.held.place, &self.held.epoch];
        let row = connected.query_one(MARK, params).await;
        if row.map_err(|error| failed(doing, &error))?.get(0) {
            self.marks.trials += 1;
            return Ok(());
        }
        let doing = "mark the trial of a message: its lease is lost";
        Err(Error::new(ErrorKind::Conflict, doing))
    }

    fn lost(&self) -> impl Future<Output = ()> + Send {
        self.held.lease.lost()
    }

    async fn settle(self, how: Settlement) -> Result<Settled> {
        match how {
            Settlement::Ack => self.end(How::Ack).await,
            Settlement::Return => self.end(How::Return).await,
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
        let lease = &self.held.lease;
        if lease.is_ordered {
            // The store knows whom it has sent to, and not that a key goes on here.
            lease.core.woken_by_commit([lease.queue]);
        }
    }
}
