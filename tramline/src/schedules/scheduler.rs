//! The scheduler's loop: look, commit what is due, sleep until the next moment.

use super::planning::token;
use super::recurring::{Declared, SCHEDULED_FOR};
use crate::MessageId;
use crate::stopping::Stopping;
use std::collections::HashMap;
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
    store: Arc<dyn DynStore>,
    /// What leaves is published in it.
    scope: Scope,
    stopping: Stopping,
    recurring: Vec<Declared>,
    /// When old names are forgotten next.
    prune_due: Timestamp,
    /// How many schedules are to leave in one transaction.
    batch_max: u32,
    /// Since when the store has answered without a break.
    healthy_since: Timestamp,
    /// What recurs and could not leave, until when it is left alone.
    resting: HashMap<String, Timestamp>,
}

/// How many schedules leave in one transaction.
const BATCH_MAX: u32 = 500;
/// How often to look without being woken.
const POLL: Duration = Duration::from_secs(5);
/// How long a store that fails is left alone.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a schedule that could not leave waits at most.
const POSTPONED_MAX: Duration = Duration::from_secs(5 * 60);
/// How late something must be in a rhythm that is not ours until it is taken for forsaken: while the store answers,
/// as those to whom it belongs may have been kept by the same outage.
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
        let passed = scheduler.pass().await;
        scheduler.learn(passed.is_ok());
        match passed {
            Ok(None) => {}
            Ok(Some(next)) => scheduler.wait(seen, next).await,
            Err(error) if scheduler.stopping.heed(&error) => return,
            Err(error) => {
                tracing::error!(%error, "the scheduler failed; going on after a pause");
                scheduler.pause().await;
            }
        }
    }
}

impl Scheduler {
    pub(crate) fn new(
        store: Arc<dyn DynStore>,
        scope: Scope,
        stopping: Stopping,
        recurring: Vec<Declared>,
    ) -> Self {
        let now = scope.composer.clock.now();
        Self {
            store,
            scope,
            stopping,
            recurring,
            prune_due: now,
            batch_max: BATCH_MAX,
            healthy_since: now,
            resting: HashMap::new(),
        }
    }

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
    ///
    /// # Errors
    /// The first of those that the store answered; all that could be done is done.
    async fn pass(&mut self) -> Result<Option<Timestamp>> {
        let now = self.now();
        let Look { due, next, recurring } = self.schedules()?.look(self.batch_max, now).await?;
        let mut any = !due.is_empty();
        let mut next = next.unwrap_or(now.after(POLL));
        let mut ended = Ok(());
        // A clock that was set back keeps nobody from taking over.
        self.healthy_since = self.healthy_since.min(now);
        self.resting.retain(|_, until| *until > now && *until <= now.after(POSTPONED_MAX));
        for declared in &self.recurring {
            let row = recurring.iter().find(|row| row.name == declared.name);
            let due = self.next_of(declared, row).filter(|due| *due > now);
            if let Some(due) = due.or(self.resting.get(&declared.name).copied()) {
                next = next.min(due);
                continue;
            }
            match self.tick(declared, row, now).await {
                Ok(None) => any = true,
                Ok(Some(rest)) => {
                    self.resting.insert(declared.name.clone(), now.after(rest));
                    next = next.min(now.after(rest));
                }
                Err(error) => ended = ended.and(Err(error)),
            }
        }
        ended = ended.and(self.fire(due, now).await);
        any |= ended.and(self.prune(now).await)?;
        Ok((!any).then_some(next))
    }

    /// A batch that is too much for the store is smaller the next time.
    fn learn(&mut self, is_well: bool) {
        if is_well {
            self.batch_max = self.batch_max.saturating_mul(2).min(BATCH_MAX);
        } else {
            self.batch_max = (self.batch_max / 2).max(1);
            self.healthy_since = self.now();
        }
    }

    /// Answers whether there may be more of them.
    async fn prune(&mut self, now: Timestamp) -> Result<bool> {
        // A clock that was set back does not keep them either.
        if now < self.prune_due && self.prune_due <= now.after(PRUNE_EVERY) {
            return Ok(false);
        }
        let pruned = self.schedules()?.prune(now, PRUNED_AT_ONCE).await?;
        let is_more = pruned >= u64::from(PRUNED_AT_ONCE);
        self.prune_due = if is_more { now } else { now.after(PRUNE_EVERY) };
        Ok(is_more)
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
        let mut groups = vec![leaving];
        while let Some(mut group) = groups.pop() {
            if self.stopping.has_begun() {
                break;
            }
            let Err(failure) = self.send(&mut group, now).await? else { continue };
            if let [(key, due, _)] = &group[..] {
                self.postpone(key, *due, now, &failure).await?;
                continue;
            }
            // One of them is to blame, and does not keep the others.
            let rest = group.split_off(group.len() / 2);
            groups.extend([rest, group]);
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
                // No other time helps it, such as one that is too large.
                Err(CommitError::Store(error))
                    if is_to_blame(&error) && !self.stopping.heed(&error) =>
                {
                    return Ok(Err(Failure::retryable(error)));
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
        let forsaken = || row.due.max(self.healthy_since).after(FORSAKEN_AFTER);
        Some(if is_ours { row.due } else { forsaken() })
    }

    /// Sends what has come, under the condition that its row is as it was read. Answers for how long to leave it alone,
    /// if it could not leave.
    async fn tick(
        &self,
        declared: &Declared,
        row: Option<&RecurringRow>,
        now: Timestamp,
    ) -> Result<Option<Duration>> {
        let name = &declared.name;
        let Some(row) = row else {
            return self.schedules()?.plan(vec![self.recur(declared)]).await.map(|_| None);
        };
        let is_ours = row.rhythm == declared.text;
        let waited = if is_ours { Duration::ZERO } else { FORSAKEN_AFTER };
        let ticks = declared.recurring.ticks(row.due, now, waited, row.is_paused);
        let messages = ticks.sent.iter().map(|moment| self.message(declared, row, *moment));
        let messages = messages.collect::<std::result::Result<Vec<_>, _>>().map_err(refused)?;
        let mut conditions = vec![Condition::Tick { row: row.clone(), next: ticks.next }];
        if !is_ours {
            // Nobody who runs declares it as the store has it. The moment that they have left is not lost.
            tracing::warn!(name, theirs = %row.rhythm, ours = %declared.text, "this instance takes over what recurs");
            let (rhythm, due) = (declared.text.to_string(), ticks.next);
            let change = Change::Recur { token: row.token, rhythm, due };
            conditions.push(Condition::Plan(Plan { name: name.clone(), now, change }));
        }
        match self.commit(conditions, messages).await {
            // Refused, somebody else has had it.
            Ok(_) => Ok(None),
            Err(CommitError::Handler(failure)) if !self.stopping.heed_failure(&failure) => {
                let pause = now.since(row.due).clamp(PAUSE, POSTPONED_MAX);
                tracing::error!(name, %failure, ?pause, "what recurs could not leave; again after a pause");
                Ok(Some(pause))
            }
            Err(CommitError::Store(error))
                if is_to_blame(&error) && !self.stopping.heed(&error) =>
            {
                tracing::error!(name, %error, "what recurs is refused; again after a pause");
                Ok(Some(POSTPONED_MAX))
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
            // Where the clock is set back, no longer than was meant.
            () = clock.sleep_at_most_until(until) => {}
        }
    }

    async fn pause(&self) {
        let clock = &self.scope.composer.clock;
        tokio::select! {
            biased;
            () = self.stopping.begun() => {}
            () = clock.sleep_at_most_until(clock.now().after(PAUSE)) => {}
        }
    }
}

/// Whether it is the message, and not the store, because of which it could not be committed.
fn is_to_blame(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::TooLarge | ErrorKind::Refused)
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
