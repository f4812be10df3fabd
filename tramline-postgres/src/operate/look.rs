//! What is declared, and how much there is.

use crate::error::failed;
use crate::link::Params;
use crate::postgres::Postgres;
use std::time::Duration;
use tokio_postgres::Row;
use tramline_core::clock::Timestamp;
use tramline_core::name::{QueueName, TopicName};
use tramline_core::operate::{DeadGroup, Depth, Figure};
use tramline_core::topology::Subscription;
use tramline_core::{Error, ErrorKind, Result};

impl Postgres {
    /// The rows of one statement, of one moment. One attempt: operators want an answer, or to know that
    /// there is none.
    pub(super) async fn look(
        &self,
        doing: impl Into<String>,
        sql: &'static str,
        params: &Params<'_>,
    ) -> Result<Vec<Row>> {
        if self.session.is_closed() {
            return Err(self.core.closed());
        }
        let connected = self.core.looking.try_connected().await?;
        connected.query(sql, params).await.map_err(|error| failed(doing, &error))
    }

    /// The same of a statement that answers exactly one row.
    pub(super) async fn look_at_one(
        &self,
        doing: impl Into<String>,
        sql: &'static str,
        params: &Params<'_>,
    ) -> Result<Row> {
        let doing = doing.into();
        let rows = self.look(doing.clone(), sql, params).await?;
        rows.into_iter().next().ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, doing).because("the server has answered nothing")
        })
    }

    /// The row of a queue, which must have been declared.
    pub(super) async fn queue_id(&self, queue: &QueueName) -> Result<i32> {
        const SQL: &str = "SELECT id FROM tramline.queue WHERE name = $1";
        let rows = self.look(looking_at(queue), SQL, &[&queue.as_str()]).await?;
        rows.first().map(|row| row.get(0)).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, looking_at(queue)).because("no such queue was declared")
        })
    }

    pub(super) async fn list_queues(&self) -> Result<Vec<QueueName>> {
        const SQL: &str = "SELECT name FROM tramline.queue ORDER BY name COLLATE \"C\"";
        let rows = self.look("list the queues", SQL, &[]).await?;
        Ok(rows.iter().map(|row| QueueName::foreign(row.get::<_, &str>(0))).collect())
    }

    /// All of them, or those alone that the last declaration of their queue did not ask for. Rules that
    /// a newer version wrote are left out here; they hold all the same.
    pub(super) async fn list_subscriptions(
        &self,
        orphans_alone: bool,
    ) -> Result<Vec<Subscription>> {
        const SQL: &str = "SELECT q.name, s.topic, s.rules FROM tramline.subscription s
             JOIN tramline.queue q ON q.id = s.queue WHERE s.orphaned >= $1
             ORDER BY q.name COLLATE \"C\", s.topic COLLATE \"C\"";
        let rows = self.look("list the subscriptions", SQL, &[&orphans_alone]).await?;
        let subscription = |row: &Row| Subscription {
            queue: QueueName::foreign(row.get::<_, &str>(0)),
            topic: TopicName::foreign(row.get::<_, &str>(1)),
            rules: serde_json::from_str(row.get(2)).unwrap_or_default(),
        };
        Ok(rows.iter().map(subscription).collect())
    }

    /// What is due counts as ready: whoever asks for it gets it. So does what waits for its turn.
    pub(super) async fn depth_of(&self, queue: &QueueName) -> Result<Depth> {
        const SQL: &str = "
            WITH time AS (SELECT coalesce($2, tramline.clock()) AS now),
            leased AS (
                SELECT count(*) AS count FROM tramline.message
                WHERE queue = $1 AND place IN (SELECT unnest(tramline.held($1, false)))
            )
            SELECT (SELECT count(*) FROM tramline.message WHERE queue = $1) - leased.count
                    + (SELECT count(*) FROM tramline.behind WHERE queue = $1)
                    + (SELECT count(*) FROM tramline.delayed WHERE queue = $1 AND due <= now),
                leased.count,
                (SELECT count(*) FROM tramline.delayed WHERE queue = $1 AND due > now),
                (SELECT count(*) FROM tramline.dead WHERE queue = $1)
            FROM time, leased";
        let id = self.queue_id(queue).await?;
        let row = self.look_at_one(looking_at(queue), SQL, &[&id, &self.core.now()]).await?;
        let figure = |index| Figure::Known(row.get::<_, i64>(index).unsigned_abs());
        Ok(Depth { ready: figure(0), leased: figure(1), delayed: figure(2), dead: figure(3) })
    }

    pub(super) async fn groups_of(&self, queue: &QueueName) -> Result<Vec<DeadGroup>> {
        const SQL: &str = "SELECT name, reason, count(*), min(failed_at), max(failed_at)
             FROM tramline.dead WHERE queue = $1
             GROUP BY name, reason ORDER BY name COLLATE \"C\", reason COLLATE \"C\"";
        let id = self.queue_id(queue).await?;
        let rows = self.look(looking_at(queue), SQL, &[&id]).await?;
        let group = |row: &Row| DeadGroup {
            name: row.get(0),
            reason: row.get(1),
            count: row.get::<_, i64>(2).unsigned_abs(),
            failed: (Timestamp::from_micros(row.get(3)), Timestamp::from_micros(row.get(4))),
        };
        Ok(rows.iter().map(group).collect())
    }

    pub(super) async fn age_of(&self, queue: &QueueName) -> Result<Option<Duration>> {
        const SQL: &str = "SELECT tramline.age($1, $2)";
        let id = self.queue_id(queue).await?;
        let row = self.look_at_one(looking_at(queue), SQL, &[&id, &self.core.now()]).await?;
        let micros: Option<i64> = row.get(0);
        Ok(micros.map(|micros| Duration::from_micros(u64::try_from(micros).unwrap_or(0))))
    }
}

pub(super) fn looking_at(queue: &QueueName) -> String {
    format!("look at queue {queue}")
}
