//! What is declared, and how much there is.

use rusqlite::Connection;
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::name::{QueueName, TopicName};
use tramline_core::operate::{DeadGroup, Depth, Figure};
use tramline_core::topology::{QueueSpec, Subscription};

pub(super) fn queues(connection: &Connection) -> rusqlite::Result<Vec<QueueName>> {
    let mut queues = connection.prepare_cached("SELECT name FROM tramline_queue ORDER BY name")?;
    let rows = queues.query_map([], |row| Ok(QueueName::foreign(row.get_ref(0)?.as_str()?)))?;
    rows.collect()
}

/// All of them, or those alone that the last declaration of their queue did not ask for. Rules that
/// a newer version wrote are left out here; they hold all the same.
pub(super) fn subscriptions(
    connection: &Connection,
    orphans_alone: bool,
) -> rusqlite::Result<Vec<Subscription>> {
    let mut subscriptions = connection.prepare_cached(
        "SELECT q.name, s.topic, s.rules FROM tramline_subscription s
         JOIN tramline_queue q ON q.id = s.queue WHERE s.orphaned >= ?1 ORDER BY q.name, s.topic",
    )?;
    let rows = subscriptions.query_map([orphans_alone], |row| {
        Ok(Subscription {
            queue: QueueName::foreign(row.get_ref(0)?.as_str()?),
            topic: TopicName::foreign(row.get_ref(1)?.as_str()?),
            rules: serde_json::from_str(row.get_ref(2)?.as_str()?).unwrap_or_default(),
        })
    })?;
    rows.collect()
}

/// For how long a queue keeps what was handled.
pub(super) fn keeps_completed(
    connection: &Connection,
    queue: i64,
) -> rusqlite::Result<Option<Duration>> {
    let mut spec = connection.prepare_cached("SELECT spec FROM tramline_queue WHERE id = ?1")?;
    let spec: String = spec.query_row([queue], |row| row.get(0))?;
    Ok(serde_json::from_str::<QueueSpec>(&spec).ok().and_then(|spec| spec.keep_completed))
}

/// What is due counts as ready: whoever asks for it gets it. So does what waits for its turn.
pub(super) fn depth(
    connection: &Connection,
    queue: i64,
    now: Timestamp,
) -> rusqlite::Result<Depth> {
    const COUNT: &str = "
        SELECT (SELECT count(*) FROM tramline_ready WHERE queue = ?1)
                 + (SELECT count(*) FROM tramline_behind WHERE queue = ?1)
                 + (SELECT count(*) FROM tramline_delayed WHERE queue = ?1 AND due <= ?2),
               (SELECT count(*) FROM tramline_leased WHERE queue = ?1 AND reason IS NULL),
               (SELECT count(*) FROM tramline_delayed WHERE queue = ?1 AND due > ?2),
               (SELECT count(*) FROM tramline_dead WHERE queue = ?1)
                 + (SELECT count(*) FROM tramline_leased WHERE queue = ?1 AND reason IS NOT NULL)";
    connection.prepare_cached(COUNT)?.query_row([queue, now.as_micros()], |row| {
        let figure = |index| {
            let count: i64 = row.get(index)?;
            Ok::<_, rusqlite::Error>(Figure::Known(count.unsigned_abs()))
        };
        Ok(Depth { ready: figure(0)?, leased: figure(1)?, delayed: figure(2)?, dead: figure(3)? })
    })
}

pub(super) fn groups(connection: &Connection, queue: i64) -> rusqlite::Result<Vec<DeadGroup>> {
    const COUNT: &str = "
        SELECT name, reason, count(*), min(failed_at), max(failed_at) FROM (
            SELECT name, reason, failed_at FROM tramline_dead WHERE queue = ?1
            UNION ALL
            SELECT name, reason, failed_at FROM tramline_leased
            WHERE queue = ?1 AND reason IS NOT NULL
        ) GROUP BY name, reason ORDER BY name, reason";
    let mut count = connection.prepare_cached(COUNT)?;
    let rows = count.query_map([queue], |row| {
        let moment = |index| Ok::<_, rusqlite::Error>(Timestamp::from_micros(row.get(index)?));
        Ok(DeadGroup {
            name: row.get(0)?,
            reason: row.get(1)?,
            count: row.get::<_, i64>(2)?.unsigned_abs(),
            failed: (moment(3)?, moment(4)?),
        })
    })?;
    rows.collect()
}

/// The ranks that there are in a queue, each found by one lookup.
pub(super) fn ranks(connection: &Connection, queue: i64) -> rusqlite::Result<Vec<i64>> {
    const NEXT: &str = "SELECT min(rank) FROM tramline_ready WHERE queue = ?1 AND rank > ?2";
    let mut next = connection.prepare_cached(NEXT)?;
    let mut ranks = Vec::new();
    let mut last = i64::MIN;
    while let Some(rank) = next.query_row([queue, last], |row| row.get::<_, Option<i64>>(0))? {
        ranks.push(rank);
        last = rank;
    }
    Ok(ranks)
}

pub(super) fn age(
    connection: &Connection,
    queue: i64,
    now: Timestamp,
) -> rusqlite::Result<Option<Duration>> {
    // Retried messages stand in their old place and are younger than those behind them.
    const OLDEST: &str = "SELECT min(since) FROM (
             SELECT since FROM tramline_ready WHERE queue = ?1 AND rank = ?2
             ORDER BY seq LIMIT 1000)";
    const OTHERS: &str = "SELECT min(since) FROM (
             SELECT min(due) AS since FROM tramline_delayed WHERE queue = ?1 AND due <= ?2
             UNION ALL
             SELECT min(since) FROM tramline_behind WHERE queue = ?1)";
    let mut oldest: Option<i64> =
        connection.prepare_cached(OTHERS)?.query_row([queue, now.as_micros()], |row| row.get(0))?;
    for rank in ranks(connection, queue)? {
        let since: Option<i64> =
            connection.prepare_cached(OLDEST)?.query_row([queue, rank], |row| row.get(0))?;
        oldest = [oldest, since].into_iter().flatten().min();
    }
    Ok(oldest.map(|since| now.since(Timestamp::from_micros(since))))
}
