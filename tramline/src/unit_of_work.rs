//! A transaction outside of handlers, on any store.

use crate::Failure;
use crate::bus::{Bus, publishing};
use crate::handler::Tx;
use crate::pipeline::{Buffer, Published};
use crate::schedules::{ScheduleName, When, cancellation, plan};
use crate::stopping::Stopping;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::compose::{Scope, Target};
use tramline_core::draft::IntoDraft;
use tramline_core::name::QueueName;
use tramline_core::store::{CommitError, Committed, Condition, Plan, Store};

/// A transaction outside of handlers: what is written in it, what is published by it, and what the handlers of
/// [`Events::publish_in`](crate::Events::publish_in) do, is there together or not at all. Begun by
/// [`Bus::begin`]; dropped, it leaves nothing behind.
#[must_use = "what is not committed does not happen"]
pub struct UnitOfWork<'s, S: Store> {
    store: &'s S,
    tx: Tx<S>,
    scope: Scope,
    buffer: Buffer,
    keeps_schedules: bool,
    stopping: Stopping,
}

impl Bus {
    /// Begins a transaction of `store`, as handlers have it by [`Tx`], for callers outside of handlers.
    ///
    /// What is published in it needs a relay, as [`Bus::store`] says.
    ///
    /// ```
    /// # use tramline::core::BoxError;
    /// # #[cfg(feature = "memory")]
    /// # async fn place() -> Result<(), BoxError> {
    /// # use serde::{Deserialize, Serialize};
    /// # use tramline::{Bus, Memory, Message};
    /// # #[derive(Serialize, Deserialize)] struct OrderPlaced { id: u64 }
    /// # impl Message for OrderPlaced { const NAME: &'static str = "orders.placed"; }
    /// let store = Memory::new();
    /// let bus = Bus::connect("memory:").await?.store(store.clone()).start().await?;
    /// let work = bus.begin(&store).await?;
    /// work.write(|db| {
    ///     db.put("order 7", "placed");
    ///     Ok(())
    /// })?;
    /// work.publish(&OrderPlaced { id: 7 })?;
    /// work.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The store cannot be had.
    pub async fn begin<'s, S: Store>(
        &self,
        store: &'s S,
    ) -> tramline_core::Result<UnitOfWork<'s, S>> {
        let running = self.inner();
        let database = store.database();
        let publishing = publishing(&*running.transport, &database);
        self.warn_of_missing_relay(publishing, &database);
        let scope = Scope::outside(running.composer.clone(), publishing);
        let tx = running.stopping.heard(store.begin(scope.clone()).await)?;
        let mut buffer = Buffer::default();
        let page = buffer.page();
        let schedules = running.schedules.as_ref();
        let keeps_schedules =
            schedules.is_some_and(|keeper| keeper.database_dyn() == store.database());
        let stopping = running.stopping.clone();
        Ok(UnitOfWork { store, tx: Tx::of(tx, page), scope, buffer, keeps_schedules, stopping })
    }
}

impl<S: Store> UnitOfWork<'_, S> {
    /// Publishes an event, `&event` or a [`crate::Draft`] of it: it leaves when this is committed.
    ///
    /// # Errors
    /// A permanent failure: the event cannot be encoded, or a name or header is not allowed.
    pub fn publish<'a>(&self, draft: impl IntoDraft<'a>) -> Result<(), Failure> {
        self.push(draft, Target::Subscribers)
    }

    /// Sends a command to exactly one queue, when this is committed.
    ///
    /// # Errors
    /// As [`UnitOfWork::publish`], and for a bad queue name.
    pub fn send<'a>(&self, queue: &str, draft: impl IntoDraft<'a>) -> Result<(), Failure> {
        self.push(draft, Target::Queue(QueueName::new(queue).map_err(Failure::permanent)?))
    }

    /// Publishes an event that arrives at a moment, as [`Draft::at`](crate::Draft::at).
    ///
    /// # Errors
    /// As [`publish`](Self::publish), and for a moment that is more than a minute in the past.
    pub fn publish_at<'a>(
        &self,
        moment: Timestamp,
        draft: impl IntoDraft<'a>,
    ) -> Result<(), Failure> {
        self.publish(draft.into_draft().at(moment))
    }

    /// Publishes an event that arrives after a time.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_after<'a>(
        &self,
        delay: Duration,
        draft: impl IntoDraft<'a>,
    ) -> Result<(), Failure> {
        self.publish(draft.into_draft().delay(delay))
    }

    /// Sends a command that arrives at a moment.
    ///
    /// # Errors
    /// As [`send`](Self::send), and for a moment that is more than a minute in the past.
    pub fn send_at<'a>(
        &self,
        moment: Timestamp,
        queue: &str,
        draft: impl IntoDraft<'a>,
    ) -> Result<(), Failure> {
        self.send(queue, draft.into_draft().at(moment))
    }

    /// Sends a command that arrives after a time.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_after<'a>(
        &self,
        delay: Duration,
        queue: &str,
        draft: impl IntoDraft<'a>,
    ) -> Result<(), Failure> {
        self.send(queue, draft.into_draft().delay(delay))
    }

    /// As [`Bus::schedule`], decided with the commit: there is no answer then.
    ///
    /// # Errors
    /// A permanent failure: the message, its time or the name is refused, or this store does not keep the schedules.
    pub fn schedule<'a>(
        &self,
        name: impl Into<ScheduleName>,
        when: impl Into<When>,
        event: impl IntoDraft<'a>,
    ) -> Result<(), Failure> {
        self.plan(plan(&self.scope, name, when, event, Target::Subscribers)?)
    }

    /// As [`Bus::schedule_to`], decided with the commit.
    ///
    /// # Errors
    /// As [`schedule`](Self::schedule), and for a bad queue name.
    pub fn schedule_to<'a>(
        &self,
        queue: &str,
        name: impl Into<ScheduleName>,
        when: impl Into<When>,
        command: impl IntoDraft<'a>,
    ) -> Result<(), Failure> {
        let target = Target::Queue(QueueName::new(queue).map_err(Failure::permanent)?);
        self.plan(plan(&self.scope, name, when, command, target)?)
    }

    /// As [`Bus::cancel`], decided with the commit.
    ///
    /// # Errors
    /// As [`schedule`](Self::schedule).
    pub fn cancel(&self, name: &str) -> Result<(), Failure> {
        self.plan(cancellation(&self.scope, name)?)
    }

    fn plan(&self, plan: Plan) -> Result<(), Failure> {
        if !self.keeps_schedules {
            let database = self.store.database();
            return Err(Failure::permanent(format!(
                "failed to plan the schedule {}: {database} does not keep this bus's schedules",
                plan.name
            )));
        }
        self.tx.page().map_or(Ok(()), |page| page.plan(plan))
    }

    fn push<'a>(&self, draft: impl IntoDraft<'a>, target: Target) -> Result<(), Failure> {
        let outgoing = self.scope.compose(draft, target)?;
        self.tx.page().map_or(Ok(()), |page| page.push(outgoing))
    }

    /// Commits all of it. Dropped, it may be committed nevertheless.
    ///
    /// # Errors
    /// Nothing of it is in: a write failed, or an event in it has failed before. Rarely, the answer was lost and
    /// it may be in: then the text says so.
    pub async fn commit(mut self) -> Result<(), Failure> {
        let Published { messages, plans } = self.buffer.close_with_plans();
        let plans = plans.into_iter().map(Condition::Plan).collect();
        let committed = match self.tx.close() {
            Ok(tx) => self.store.commit(tx, plans, messages).await,
            Err(failure) => Err(CommitError::Handler(failure)),
        };
        unconditional(committed).inspect_err(|failure| {
            self.stopping.heed_failure(failure);
        })
    }
}

/// How a transaction without conditions has ended: none is refused.
pub(crate) fn unconditional(committed: Result<Committed, CommitError>) -> Result<(), Failure> {
    committed.map(drop).map_err(|error| match error {
        CommitError::Handler(failure) => failure,
        error => Failure::retryable(error),
    })
}

/// The transaction, to write in it, and to be lent to the handlers of an event.
impl<S: Store> Deref for UnitOfWork<'_, S> {
    type Target = Tx<S>;

    fn deref(&self) -> &Tx<S> {
        &self.tx
    }
}

impl<S: Store> DerefMut for UnitOfWork<'_, S> {
    fn deref_mut(&mut self) -> &mut Tx<S> {
        &mut self.tx
    }
}

impl<S: Store> fmt::Debug for UnitOfWork<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnitOfWork")
            .field("database", &self.store.database())
            .finish_non_exhaustive()
    }
}
