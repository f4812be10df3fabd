//! What producers and handlers have left behind.

use super::database::Database;
use super::order::{Effect, out_of_order};
use super::service::{BOOKED, NOTED, ORDERED, PLAIN};
use crate::servers::{DeadLetter, Evidence, Record};
use std::collections::BTreeMap;
use tramline::postgres::sqlx::{Error, Row};

/// What was confirmed, and what has become of it at `endpoints`.
pub(crate) async fn evidence(
    record: &Record,
    database: &Database,
    endpoints: &[&'static str],
) -> Result<Evidence, String> {
    let once = vec![BOOKED, NOTED, ORDERED];
    let mut evidence = Evidence { once, confirmed: record.confirmed()?, ..Evidence::default() };
    for endpoint in endpoints {
        let handled = match *endpoint {
            PLAIN => record.handled(endpoint)?,
            _ => stored(database, endpoint).await?,
        };
        evidence.handled.insert(endpoint, handled);
    }
    evidence.dead = dead(database).await?;
    Ok(evidence)
}

/// How often an endpoint has written down that it has handled each message.
async fn stored(database: &Database, endpoint: &str) -> Result<BTreeMap<u64, usize>, String> {
    let sql = format!(
        "SELECT number, count(*) FROM effect WHERE endpoint = '{endpoint}' GROUP BY number"
    );
    let rows = database.rows(&sql).await?;
    let read = rows.iter().map(|row| {
        let (number, times): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        Ok((number.cast_unsigned(), times as usize))
    });
    read.collect::<Result<_, Error>>().map_err(|error| format!("failed to read effects: {error}"))
}

/// The dead letters of all queues, seen without the driver.
pub(crate) async fn dead(database: &Database) -> Result<Vec<DeadLetter>, String> {
    const SQL: &str =
        "SELECT q.name, (b.body ->> 'number')::bigint, (b.body ->> 'fails')::bigint, d.reason
        FROM tramline.dead d JOIN tramline.queue q ON q.id = d.queue,
            LATERAL (SELECT convert_from(d.body, 'UTF8')::json AS body) b ORDER BY d.place";
    let rows = database.rows(SQL).await?;
    let read = rows.iter().map(|row| {
        let (number, fails): (i64, Option<i64>) = (row.try_get(1)?, row.try_get(2)?);
        Ok(DeadLetter {
            queue: row.try_get(0)?,
            number: number.cast_unsigned(),
            // A follow-up has none.
            fails: fails.and_then(|fails| fails.try_into().ok()).unwrap_or_default(),
            reason: row.try_get(3)?,
        })
    });
    let read: Result<_, Error> = read.collect();
    read.map_err(|error| format!("failed to read dead letters: {error}"))
}

/// What of one endpoint has overtaken another of its key, in words.
pub(crate) async fn disorder(database: &Database, endpoint: &str) -> Result<Vec<String>, String> {
    let sql = format!("SELECT number, key FROM effect WHERE endpoint = '{endpoint}' ORDER BY id");
    let rows = database.rows(&sql).await?;
    let read = rows.iter().map(|row| {
        let number: i64 = row.try_get(0)?;
        Ok(Effect { number: number.cast_unsigned(), key: row.try_get(1)? })
    });
    let read: Result<Vec<Effect>, Error> = read.collect();
    Ok(out_of_order(&read.map_err(|error| format!("failed to read effects: {error}"))?))
}

/// How much there is that nobody has handled, and how much is claimed.
pub(crate) async fn left(database: &Database) -> Result<(i64, i64), String> {
    const WAITING: &str = "SELECT (SELECT count(*) FROM tramline.message)
        + (SELECT count(*) FROM tramline.behind) + (SELECT count(*) FROM tramline.delayed)";
    const CLAIMED: &str = "SELECT count(*) FROM tramline.claim";
    Ok((database.count(WAITING).await?, database.count(CLAIMED).await?))
}
