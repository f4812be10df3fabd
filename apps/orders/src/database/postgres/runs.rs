//! When the service was at work, and what was done to it: kept here, because the processes that
//! would remember may die.

use super::database::Database;
use super::patience::patiently;
use crate::database::KillRecord;
use tramline::Failure;
use tramline::core::clock::Timestamp;
use tramline::postgres::sqlx;

impl Database {
    pub(crate) async fn begin_run(&self, now: Timestamp) -> Result<i64, Failure> {
        const SQL: &str = "INSERT INTO shop.run (started_at, seen_at) VALUES ($1, $1) RETURNING id";
        let begin = || sqlx::query_scalar(SQL).bind(now.as_micros()).fetch_one(self.pool());
        Ok(patiently(begin).await?)
    }

    pub(crate) async fn see_run(&self, run: i64, now: Timestamp) -> Result<(), Failure> {
        const SQL: &str = "UPDATE shop.run SET seen_at = $2 WHERE id = $1";
        let see = || sqlx::query(SQL).bind(run).bind(now.as_micros()).execute(self.pool());
        patiently(see).await?;
        Ok(())
    }

    pub(crate) async fn record_kill(&self, kill: KillRecord) -> Result<(), Failure> {
        const SQL: &str = "INSERT INTO shop.kill (run, killed_at, worker, process)
            VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        let record = || {
            sqlx::query(SQL)
                .bind(kill.run)
                .bind(kill.killed_at.as_micros())
                .bind(kill.worker)
                .bind(i64::from(kill.process))
                .execute(self.pool())
        };
        patiently(record).await?;
        Ok(())
    }
}
