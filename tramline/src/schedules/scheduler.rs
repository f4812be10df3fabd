//! The scheduler's loop: look, commit what is due, sleep until the next moment.

use super::planning::token;
use super::recurring::{Declared, SCHEDULED_FOR};
use crate::MessageId;
use crate::stopping::Stopping;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::compose::Scope;
use tramline_core::erased::DynStore;
use tramline_core::store::{
    Change, CommitError, Committed, Condition, DueSchedule, Look, Plan, RecurringRow, ScheduleKey,
    Schedules,
};
use tramline_core::transport::Outgoing;
use tramline_core::{Error, ErrorKind, Failure, Result};

/// What a scheduler works with.
pub(crate) struct Scheduler {
    pub(crate) store: Arc<dyn DynStore>,
    /// What leaves is published in it.
    pub(crate) scope: Scope,
    pub(crate) stopping: Stopping,
    pub(crate) recurring: Vec<Declared>,
    /// When old names are forgotten next.
    pub(crate) prune_due: Timestamp,
}

/// How many schedules leave in one transaction.
const BATCH_MAX: u32 = 500;
/// How often to look without being woken.
const POLL: Duration = Duration::from_secs(5);
/// How long a store that fails is left alone.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a schedule that could not leave waits at most.
const POSTPONED_MAX: Duration = Duration::from_secs(5 * 60);
/// How late something must be in a rhythm that is not ours until it is taken for forsaken.
const FORSAKEN_AFTER: Duration = Duration::from_secs(60);
const PRUNE_EVERY: Duration = Duration::from_secs(60);
const PRUNED_AT_ONCE: u32 = 1000;

/// A schedule that is due and can be read.
type Leaving = (ScheduleKey, Timestamp, Outgoing);

/// Fires what is due until the bus stops.
///
/// Dies the process anywhere in it, a schedule has fired or is still due: there is nothing between.
pub(crate) async fn schedule(mut scheduler: Scheduler) {
    while !scheduler.stopping.has_begun() {
        let seen = scheduler.schedules().map_or(0, Schedules::changes);
        match scheduler.pass().await {
            Ok(None) => {}
            Ok(Some(next)) => scheduler.wait(seen, next).await,
            Err(error) if scheduler.stopping.heed(&error) => return,
            Err(error) => {
                tracing::error!(%error, "the scheduler failed; going on after a pause");
                let until = scheduler.now().after(PAUSE);
                tokio::select! {
                    biased;
                    () = scheduler.stopping.begun() => {}
                    () = scheduler.scope.composer.clock.sleep_until(until) => {}
                }
            }
        }
    }
}

impl Scheduler {
    /// Makes known what recurs here.
    pub(crate) async fn declare(&self) -> Result<()> {
        let plans: Vec<_> = self.recurring.iter().map(|declared| self.recur(declared)).collect();
        if plans.is_empty() { Ok(()) } else { self.schedules()?.plan(plans).await.map(drop) }
    }

    fn recur(&self, declared: &Declared) -> Plan {
        let now = self.now();
        let due = declared.recurring.first(now);
        let change =
            Change::Recur { token: token(&self.scope), rhythm: declared.text.to_string(), due };
        Plan { name: declared.name.clone(), now, change }
    }

    /// Does what is due. Answers when there is more to do, if it is not at once.
    async fn pass(&mut self) -> Result<Option<Timestamp>> {
        let now = self.now();
        self.prune(now).await?;
        let Look { due, next, recurring } = self.schedules()?.look(BATCH_MAX, now).await?;
        let mut any = !due.is_empty();
        self.fire(due, now).await?;
        let mut next = next.unwrap_or(now.after(POLL));
        for declared in &self.recurring {
            let row = recurring.iter().find(|row| row.name == declared.name);
            match self.next_of(declared, row) {
                Some(due) if due > now => next = next.min(due),
                _ if self.tick(declared, row, now).await? => any = true,
                _ => next = next.min(now.after(PAUSE)),
            }
        }
        Ok((!any).then_some(next))
    }

    async fn prune(&mut self, now: Timestamp) -> Result<()> {
        if now < self.prune_due {
            return Ok(());
        }
        self.prune_due = now.after(PRUNE_EVERY);
        while self.schedules()?.prune(now, PRUNED_AT_ONCE).await? >= u64::from(PRUNED_AT_ONCE) {}
        Ok(())
    }

    async fn fire(&self, due: Vec<DueSchedule>, now: Timestamp) -> Result<()> {
        let mut leaving = Vec::with_capacity(due.len());
        for DueSchedule { key, due, outgoing } in due {
            match outgoing {
                Ok(outgoing) => leaving.push((key, due, outgoing)),
                Err(error) => {
                    tracing::error!(name = key.name, %error, "a schedule cannot be read");
                    self.schedules()?.postpone(&key, now.after(POSTPONED_MAX)).await?;
                }
            }
        }
        if let Err(failure) = self.send(&mut leaving, now).await? {
            if let [(key, due, _)] = &leaving[..] {
                return self.postpone(key, *due, now, &failure).await;
            }
            // One of them is to blame, and does not keep the others.
            for one in leaving {
                let mut alone = vec![one];
                if let Err(failure) = self.send(&mut alone, now).await?
                    && let [(key, due, _)] = &alone[..]
                {
                    self.postpone(key, *due, now, &failure).await?;
                }
            }
        }
        Ok(())
    }

    /// Commits that these leave, but for those that somebody else has had. The inner error says that the store took
    /// one of them for impossible.
    async fn send(
        &self,
        leaving: &mut Vec<Leaving>,
        now: Timestamp,
    ) -> Result<std::result::Result<(), Failure>> {
        while !leaving.is_empty() {
            let conditions =
                leaving.iter().map(|(key, ..)| Condition::Due { key: key.clone(), now });
            let messages = leaving.iter().map(|(.., outgoing)| outgoing.clone()).collect();
            match self.commit(conditions.collect(), messages).await {
                Ok(Committed::Done) => return Ok(Ok(())),
                Ok(Committed::Refused(refused)) if refused.is_empty() => return Err(unclear()),
                Ok(Committed::Refused(refused)) => {
                    let mut index = 0..;
                    leaving.retain(|_| {
                        let index = index.next();
                        !refused.iter().any(|(refused, _)| Some(*refused) == index)
                    });
                }
                Err(CommitError::Handler(failure)) if !self.stopping.heed_failure(&failure) => {
                    return Ok(Err(failure));
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(Ok(()))
    }

    /// A schedule that cannot leave, such as to a queue that is not there, waits for as long as it is late already.
    async fn postpone(
        &self,
        key: &ScheduleKey,
        due: Timestamp,
        now: Timestamp,
        failure: &Failure,
    ) -> Result<()> {
        let pause = now.since(due).clamp(PAUSE, POSTPONED_MAX);
        tracing::error!(name = key.name, %failure, ?pause, "a schedule could not leave; again after a pause");
        self.schedules()?.postpone(key, now.after(pause)).await
    }

    /// When there is something to do about what recurs here.
    fn next_of(&self, declared: &Declared, row: Option<&RecurringRow>) -> Option<Timestamp> {
        let row = row?;
        let is_ours = row.rhythm == declared.text;
        Some(if is_ours { row.due } else { row.due.after(FORSAKEN_AFTER) })
    }

    /// Does what there is to do. Answers whether it could.
    async fn tick(
        &self,
        declared: &Declared,
        row: Option<&RecurringRow>,
        now: Timestamp,
    ) -> Result<bool> {
        let name = &declared.name;
        let Some(row) = row.filter(|row| row.rhythm == declared.text) else {
            // Nobody who runs declares it as the store has it.
            tracing::warn!(name, "this instance takes over what recurs");
            return self.schedules()?.plan(vec![self.recur(declared)]).await.map(|_| true);
        };
        let ticks = declared.recurring.ticks(row.due, now, row.is_paused);
        let messages = ticks.sent.iter().map(|moment| self.message(declared, row, *moment));
        let messages = messages.collect::<std::result::Result<Vec<_>, _>>().map_err(refused)?;
        let condition = Condition::Tick { row: row.clone(), next: ticks.next };
        match self.commit(vec![condition], messages).await {
            // Refused, somebody else has had it.
            Ok(_) => Ok(true),
            Err(CommitError::Handler(failure)) if !self.stopping.heed_failure(&failure) => {
                tracing::error!(name, %failure, "what recurs could not leave; again after a pause");
                Ok(false)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn message(
        &self,
        declared: &Declared,
        row: &RecurringRow,
        moment: Timestamp,
    ) -> std::result::Result<Outgoing, Failure> {
        let mut outgoing = declared.message(&self.scope)?;
        let envelope = Arc::make_mut(&mut outgoing.envelope);
        envelope.id = Some(MessageId::scheduled(&row.name, row.token, moment));
        envelope.headers.insert(SCHEDULED_FOR, moment.as_millis());
        Ok(outgoing)
    }

    async fn commit(
        &self,
        conditions: Vec<Condition>,
        messages: Vec<Outgoing>,
    ) -> std::result::Result<Committed, CommitError> {
        let tx = self.store.begin_dyn(self.scope.clone()).await.map_err(CommitError::Store)?;
        self.store.commit_dyn(tx, conditions, messages).await
    }

    fn schedules(&self) -> Result<&dyn Schedules> {
        let store = self.store.database_dyn();
        let schedules = self.store.schedules_dyn();
        schedules.ok_or_else(|| Error::unsupported("schedules", &store.to_string()))
    }

    fn now(&self) -> Timestamp {
        self.scope.composer.clock.now()
    }

    async fn wait(&self, seen: u64, next: Timestamp) {
        let Ok(schedules) = self.schedules() else { return };
        let clock = &self.scope.composer.clock;
        let until = next.min(clock.now().after(POLL));
        tokio::select! {
            biased;
            () = self.stopping.begun() => {}
            () = schedules.changed_since(seen) => {}
            () = clock.sleep_until(until) => {}
        }
    }
}

fn unclear() -> Error {
    Error::new(ErrorKind::Refused, "fire schedules: the store does not say which one it refuses")
}

fn failed(error: CommitError) -> Error {
    match error {
        CommitError::Store(error) | CommitError::Unknown(error) => error,
        CommitError::Handler(failure) => refused(failure),
    }
}

fn refused(failure: Failure) -> Error {
    Error::new(ErrorKind::Refused, "fire a schedule").because(failure.to_string())
}
