//! Messages are looked at where they stand.

use super::look::looking_at;
use crate::postgres::Postgres;
use crate::send::DIRECT;
use bytes::Bytes;
use std::sync::Arc;
use tokio_postgres::Row;
use tramline_core::Result;
use tramline_core::clock::Timestamp;
use tramline_core::dead::{DeathRecord, Reason};
use tramline_core::envelope::Envelope;
use tramline_core::id::MessageId;
use tramline_core::name::{QueueName, QueueRef};
use tramline_core::operate::{Completed, Peeked};
use tramline_core::rows::{forget_via, read_envelope, read_history};

/// What is looked at of each message, wherever it stands. Literals, for `concat!`.
macro_rules! main {
    ($rest:expr) => {
        concat!(
            "SELECT * FROM ((SELECT place, flags, failures, history, first_failed_at, envelope, body, \
                 NULL::bigint AS due, NULL::text AS reason, NULL::bigint AS failed_at \
             FROM tramline.message WHERE queue = $1 ",
            $rest,
            ") UNION ALL (SELECT place, flags, failures, history, first_failed_at, envelope, body, \
                 due, NULL, NULL FROM tramline.delayed WHERE queue = $1 ",
            $rest,
            ") UNION ALL (SELECT place, flags, failures, history, first_failed_at, envelope, body, \
                 NULL, NULL, NULL FROM tramline.behind WHERE queue = $1 ",
            $rest,
            ")) AS everything "
        )
    };
}
macro_rules! dead {
    ($rest:expr) => {
        concat!(
            "SELECT place, flags, failures, history, first_failed_at, envelope, body, \
                 NULL::bigint AS due, reason, failed_at FROM tramline.dead WHERE queue = $1 ",
            $rest
        )
    };
}
macro_rules! page {
    () => {
        "AND place > $2 ORDER BY place LIMIT $3"
    };
}
macro_rules! with_id {
    () => {
        "AND tramline.has_id(envelope, $2) LIMIT 1"
    };
}

impl Postgres {
    /// Up to `limit` messages behind `after`, in the order of their places.
    pub(super) async fn peek_at(
        &self,
        queue: &QueueRef,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Peeked>> {
        const MAIN: &str = concat!(main!(page!()), "ORDER BY place LIMIT $3");
        const DEAD: &str = dead!(page!());
        let id = self.queue_id(queue.name()).await?;
        let sql = if is_dead(queue) { DEAD } else { MAIN };
        let after = after.unwrap_or(i64::MIN);
        let rows =
            self.look(looking_at(queue.name()), sql, &[&id, &after, &i64::from(limit)]).await?;
        Ok(rows.iter().map(peeked).collect())
    }

    /// The first message with this id.
    pub(super) async fn find_in(
        &self,
        queue: &QueueRef,
        wanted: &MessageId,
    ) -> Result<Option<Peeked>> {
        const MAIN: &str = concat!(main!(with_id!()), "LIMIT 1");
        const DEAD: &str = dead!(with_id!());
        let id = self.queue_id(queue.name()).await?;
        let sql = if is_dead(queue) { DEAD } else { MAIN };
        let wanted = wanted.to_string();
        let rows = self.look(looking_at(queue.name()), sql, &[&id, &wanted]).await?;
        Ok(rows.first().map(peeked))
    }

    /// Up to `limit` messages behind `after` that were handled, in the order in which they were. Those
    /// whose time is over wait to be forgotten.
    pub(super) async fn completed_in(
        &self,
        queue: &QueueName,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Completed>> {
        const SQL: &str = "SELECT c.position, c.flags, c.failures, c.at, c.envelope, c.body
             FROM tramline.completed c JOIN tramline.queue q ON q.id = c.queue
             WHERE c.queue = $1 AND c.position > $2
                 AND c.at > coalesce($4, tramline.clock()) - coalesce(q.keep_completed, 0)
             ORDER BY c.position LIMIT $3";
        let id = self.queue_id(queue).await?;
        let (after, limit) = (after.unwrap_or(i64::MIN), i64::from(limit));
        let params = [&id as _, &after as _, &limit as _, &self.core.now() as _];
        let rows = self.look(looking_at(queue), SQL, &params).await?;
        let completed = |row: &Row| Completed {
            position: row.get(0),
            envelope: Arc::new(envelope(row.get(4), row.get(5), is_direct(row.get(1)))),
            failures: row.get::<_, i32>(2).unsigned_abs(),
            at: Timestamp::from_micros(row.get(3)),
        };
        Ok(rows.iter().map(completed).collect())
    }
}

pub(super) fn is_dead(queue: &QueueRef) -> bool {
    matches!(queue, QueueRef::Dead(_))
}

fn is_direct(flags: i16) -> bool {
    i32::from(flags) & DIRECT != 0
}

/// The message of two columns. What cannot be read is shown without what cannot be read.
fn envelope(text: &str, body: &[u8], is_direct: bool) -> Envelope {
    let body = Bytes::copy_from_slice(body);
    let mut envelope = read_envelope(text, body.clone())
        .unwrap_or_else(|_| Envelope { body, ..Envelope::default() });
    if is_direct {
        forget_via(&mut envelope);
    }
    envelope
}

pub(super) fn peeked(row: &Row) -> Peeked {
    let moment = |column| row.get::<_, Option<i64>>(column).map(Timestamp::from_micros);
    let failures = row.get::<_, i32>("failures").unsigned_abs();
    let reason: Option<String> = row.get("reason");
    let is_direct = reason.is_some() || is_direct(row.get("flags"));
    let death = reason.zip(moment("failed_at")).map(|(reason, failed_at)| DeathRecord {
        reason: Reason::from(reason),
        failures,
        history: read_history(row.get("history")).unwrap_or_default(),
        first_failed_at: moment("first_failed_at"),
        failed_at,
    });
    Peeked {
        position: row.get("place"),
        envelope: Arc::new(envelope(row.get("envelope"), row.get("body"), is_direct)),
        failures,
        due: moment("due"),
        death,
    }
}
