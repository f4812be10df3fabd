//! The contract of schedules, kept by a file.

use super::look::{look, waiting};
use super::plan::carry_out;
use crate::error::failed;
use crate::sqlite::Sqlite;
use crate::writer::{Plan as Job, Work, WriteError};
use rusqlite::params;
use std::sync::Arc;
use tramline_core::clock::Timestamp;
use tramline_core::rows::{Bell, SCHEDULES};
use tramline_core::store::{Look, Plan, Planned, ScheduleKey, Schedules, Waiting};
use tramline_core::{BoxFuture, Result};

impl Schedules for Sqlite {
    fn plan(&self, plans: Vec<Plan>) -> BoxFuture<'_, Result<Vec<Planned>>> {
        Box::pin(async move {
            let job = Job::durable(plans.len());
            let write = move |work: &Work<'_>| {
                plans.iter().map(|plan| carry_out(work, plan)).collect::<Result<Vec<_>>>()
            };
            self.core.write(job, write).await.map_err(WriteError::into_error)
        })
    }

    fn look(&self, limit: u32, now: Timestamp) -> BoxFuture<'_, Result<Look>> {
        Box::pin(
            self.core.look("look for schedules", move |connection| look(connection, limit, now)),
        )
    }

    fn postpone<'a>(&'a self, key: &'a ScheduleKey, until: Timestamp) -> BoxFuture<'a, Result<()>> {
        const SQL: &str = "UPDATE tramline_schedule SET at = ?3
             WHERE name = ?1 AND token = ?2 AND state = 0";
        let key = key.clone();
        Box::pin(self.change_schedules(Job::passing(1), "postpone a schedule", move |work| {
            let parameters = params![key.name, key.token, until.as_micros()];
            work.connection.prepare_cached(SQL)?.execute(parameters).map(|_| ())
        }))
    }

    fn waiting<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<Waiting>>> {
        let after = after.map(str::to_owned);
        Box::pin(
            self.core.look("list schedules", move |connection| {
                waiting(connection, after.as_deref(), limit)
            }),
        )
    }

    fn prune(&self, now: Timestamp, limit: u32) -> BoxFuture<'_, Result<u64>> {
        const SQL: &str = "DELETE FROM tramline_schedule WHERE id IN (
             SELECT id FROM tramline_schedule WHERE state = ?1 AND at <= ?2 LIMIT ?3)";
        let job = Job::passing(limit as usize);
        Box::pin(self.change_schedules(job, "forget schedules", move |work| {
            let mut delete = work.connection.prepare_cached(SQL)?;
            let mut pruned = 0;
            for state in 1..=4 {
                let left = limit.saturating_sub(u32::try_from(pruned).unwrap_or(u32::MAX));
                pruned += delete.execute(params![state, now.as_micros(), left])?;
            }
            Ok(pruned as u64)
        }))
    }

    fn changes(&self) -> u64 {
        self.scheduled().rung()
    }

    fn changed_since(&self, seen: u64) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.note_scheduler().await;
            self.scheduled().rings_after(seen).await;
        })
    }
}

impl Sqlite {
    fn scheduled(&self) -> Arc<Bell> {
        self.core.shared.hub.bell(SCHEDULES)
    }

    async fn change_schedules<T: Send + 'static>(
        &self,
        job: Job,
        doing: &'static str,
        change: impl Fn(&Work<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let write = move |work: &Work<'_>| change(work).map_err(|error| failed(doing, error));
        self.core.write(job, write).await.map_err(WriteError::into_error)
    }

    /// Other processes wake this one for schedules from now on.
    async fn note_scheduler(&self) {
        if self.core.shared.schedules.get().is_some() {
            return;
        }
        match self.core.write(Job::passing(1), |work| work.consume(SCHEDULES)).await {
            Ok(()) => _ = self.core.shared.schedules.set(()),
            Err(error) => {
                tracing::warn!(%error, "other processes do not wake this one for schedules")
            }
        }
    }
}
