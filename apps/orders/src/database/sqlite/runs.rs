//! When the service was at work, and what was done to it: kept here, because the processes that
//! would remember may die.

use super::database::Database;
use crate::database::KillRecord;
use tramline::Failure;
use tramline::core::clock::Timestamp;
use tramline::sqlite::rusqlite::params;

impl Database {
    pub(crate) async fn begin_run(&self, now: Timestamp) -> Result<i64, Failure> {
        let begin = move |db: &tramline::sqlite::Db<'_>| {
            let sql = "INSERT INTO run (started_at, seen_at) VALUES (?1, ?1)";
            db.execute(sql, [now.as_micros()])?;
            Ok(db.last_insert_rowid())
        };
        self.sqlite.write(begin).await
    }

    pub(crate) async fn see_run(&self, run: i64, now: Timestamp) -> Result<(), Failure> {
        let see = move |db: &tramline::sqlite::Db<'_>| {
            db.execute("UPDATE run SET seen_at = ?2 WHERE id = ?1", [run, now.as_micros()])?;
            Ok(())
        };
        self.sqlite.write(see).await
    }

    pub(crate) async fn record_kill(&self, kill: KillRecord) -> Result<(), Failure> {
        let record = move |db: &tramline::sqlite::Db<'_>| {
            db.execute(
                "INSERT INTO kill (run, killed_at, worker, process) VALUES (?1, ?2, ?3, ?4)",
                params![kill.run, kill.killed_at.as_micros(), kill.worker, kill.process],
            )?;
            Ok(())
        };
        self.sqlite.write(record).await
    }
}
