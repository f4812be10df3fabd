//! The contract of schedules, kept by a server.

use super::changes::{Changes, planned, refuse_nul};
use super::look::{look, waiting};
use crate::error::failed;
use crate::link::Connected;
use crate::open::{Core, SCHEDULES};
use crate::postgres::Postgres;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::rows::Bell;
use tramline_core::store::{Look, Plan, Planned, ScheduleKey, Schedules, Waiting};
use tramline_core::{BoxFuture, Result};

/// How long at most it is not looked where notifications do not arrive.
const UNHEARD: Duration = Duration::from_millis(500);

impl Schedules for Postgres {
    fn plan(&self, plans: Vec<Plan>) -> BoxFuture<'_, Result<Vec<Planned>>> {
        const SQL: &str = "SELECT answers, wakes
             FROM tramline.change_schedules($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        Box::pin(async move {
            let mut changes = Changes::default();
            plans.iter().try_for_each(|plan| changes.plan(plan))?;
            if changes.is_empty() {
                return Ok(Vec::new());
            }
            let connected = self.core.scheduling().await?;
            let row = connected.query_one(SQL, &changes.parameters()).await;
            let row = self.core.scheduled("change schedules", row).await?;
            if row.get(1) {
                self.core.woken_by_commit([SCHEDULES]);
            }
            let answers = row.get::<_, Vec<i32>>(0);
            let answers = plans.iter().zip(answers);
            Ok(answers.map(|(plan, answer)| planned(&plan.change, answer)).collect())
        })
    }

    fn look(&self, limit: u32, now: Timestamp) -> BoxFuture<'_, Result<Look>> {
        Box::pin(async move {
            let connected = self.core.scheduling().await?;
            let looked = look(&connected, limit, now).await;
            self.core.scheduled("look for schedules", looked).await
        })
    }

    fn postpone<'a>(&'a self, key: &'a ScheduleKey, until: Timestamp) -> BoxFuture<'a, Result<()>> {
        const SQL: &str = "SELECT tramline.postpone_schedule($1, $2, $3)";
        Box::pin(async move {
            refuse_nul(&key.name, &key.name)?;
            let connected = self.core.scheduling().await?;
            let params = (&key.name, &key.token, until.as_micros());
            let postponed = connected.query(SQL, &[params.0, params.1, &params.2]).await;
            self.core.scheduled("postpone a schedule", postponed).await.map(drop)
        })
    }

    fn waiting<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Waiting>>> {
        Box::pin(async move {
            let connected = self.core.scheduling().await?;
            let listed = waiting(&connected, after, limit).await;
            self.core.scheduled("list schedules", listed).await
        })
    }

    fn prune(&self, now: Timestamp, limit: u32) -> BoxFuture<'_, Result<u64>> {
        const SQL: &str = "SELECT tramline.prune_schedules($1, $2)";
        Box::pin(async move {
            let connected = self.core.scheduling().await?;
            let pruned = connected.query_one(SQL, &[&now.as_micros(), &i64::from(limit)]).await;
            let row = self.core.scheduled("forget schedules", pruned).await?;
            Ok(row.get::<_, i64>(0).unsigned_abs())
        })
    }

    fn changes(&self) -> u64 {
        self.core.schedules_bell().rung()
    }

    fn changed_since(&self, seen: u64) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let core = &self.core;
            core.attend();
            let bell = core.schedules_bell();
            if core.is_heard() && rests(core).await {
                return bell.rings_after(seen).await;
            }
            // Whoever looks learns whether there is something.
            if tokio::time::timeout(UNHEARD, bell.rings_after(seen)).await.is_err() {
                core.hub.wake(SCHEDULES.into());
            }
        })
    }
}

/// Has others wake this process. Answers whether they will. What they did before they knew, nobody tells: so this
/// counts as a change the first time.
async fn rests(core: &Core) -> bool {
    if core.sleepers.is_marked(SCHEDULES) {
        return true;
    }
    match core.sleepers.mark(core, SCHEDULES).await {
        Ok(()) => core.hub.wake(SCHEDULES.into()),
        Err(error) => tracing::debug!(%error, "others do not wake this process for schedules"),
    }
    core.sleepers.is_marked(SCHEDULES)
}

impl Core {
    fn schedules_bell(&self) -> Arc<Bell> {
        self.hub.bell(SCHEDULES.into())
    }

    async fn scheduling(&self) -> Result<Arc<Connected>> {
        self.refuse_when_outdated()?;
        self.scheduling.try_connected().await
    }

    /// What the server has said while doing `doing`.
    async fn scheduled<T>(
        &self,
        doing: &'static str,
        said: Result<T, tokio_postgres::Error>,
    ) -> Result<T> {
        match said {
            Ok(said) => Ok(said),
            Err(error) => {
                Err(self.explained(failed(format!("{doing} in {}", self.target), &error)).await)
            }
        }
    }
}
