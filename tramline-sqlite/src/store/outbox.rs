//! Messages that a relay sends elsewhere.

use crate::deliver::claim::CLAIM_BYTES_MAX;
use crate::error::{corrupt, failed};
use crate::processes::hub::OUTBOX;
use crate::queue::parcel::encode;
use crate::sqlite::Sqlite;
use crate::writer::{Plan, Work, WriteError};
use bytes::Bytes;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::envelope::Envelope;
use tramline_core::name::{QueueRef, TopicName};
use tramline_core::store::{Outbox, OutboxRow, OutboxToken, ParkedRow};
use tramline_core::transport::{Destination, Outgoing};
use tramline_core::{BoxFuture, Error, Failure, Result};

/// How a destination is written down.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Address {
    Queue(QueueRef),
    Topic { name: TopicName, subject: Arc<str> },
    Foreign { exchange: String, routing_key: String },
    Reply(String),
}

/// Writes a message down inside a unit of work. A message with a due time is held until then, so
/// that brokers without delays can have it too; it holds nothing else of its key back.
pub(super) fn append(work: &Work<'_>, outgoing: &Outgoing) -> Result<(), Failure> {
    let Outgoing { to, envelope, due, .. } = outgoing;
    let to = serde_json::to_string(&Address::from(to.clone())).map_err(Failure::permanent)?;
    let text = encode(envelope).map_err(Failure::permanent)?;
    let now = work.now();
    work.connection
        .prepare_cached(
            "INSERT INTO tramline_outbox (key, hold_until, attempts, lease, lease_until, process, parked,
                 destination, envelope, body)
             VALUES (?1, ?2, 0, 0, 0, 0, 0, ?3, ?4, ?5)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                envelope.key,
                due.unwrap_or(now).as_micros(),
                to,
                text,
                &envelope.body[..]
            ])
        })
        .map_err(|error| failed("append to the outbox", error))?;
    work.wake(OUTBOX);
    Ok(())
}

impl Outbox for Sqlite {
    fn claim(
        &self,
        limit: u32,
        lease: Duration,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<OutboxRow>>> {
        Box::pin(async move {
            loop {
                let plan = Plan::passing(limit as usize);
                let rows = self.core.write(plan, move |work| claim(work, limit, lease, now)).await;
                let rows = rows.map_err(WriteError::into_error)?;
                let claimed = rows.len();
                let readable = self.park_unreadable(rows).await?;
                // Parked are at least as many as claimed: the loop ends with the outbox.
                if claimed == 0 || !readable.is_empty() {
                    return Ok(readable);
                }
            }
        })
    }

    fn sent<'a>(&'a self, rows: &'a [OutboxToken]) -> BoxFuture<'a, Result<()>> {
        const SQL: &str = "DELETE FROM tramline_outbox WHERE id = ?1 AND lease = ?2";
        let rows = rows.to_vec();
        Box::pin(async move {
            // Not synced: after a power failure a row is sent once more, under the same id.
            self.change(Plan::passing(rows.len()), move |connection| {
                let mut delete = connection.prepare_cached(SQL)?;
                rows.iter().try_for_each(|row| delete.execute([row.row, row.lease]).map(|_| ()))
            })
            .await
        })
    }

    fn postpone<'a>(
        &'a self,
        row: OutboxToken,
        until: Timestamp,
        error: &'a str,
    ) -> BoxFuture<'a, Result<()>> {
        const SQL: &str = "UPDATE tramline_outbox SET lease = 0, lease_until = 0,
             attempts = attempts + 1, hold_until = ?3, error = ?4 WHERE id = ?1 AND lease = ?2";
        let error = error.to_owned();
        Box::pin(self.change(Plan::durable(1), move |connection| {
            let parameters = params![row.row, row.lease, until.as_micros(), error];
            connection.prepare_cached(SQL)?.execute(parameters).map(|_| ())
        }))
    }

    fn park<'a>(&'a self, row: OutboxToken, error: &'a str) -> BoxFuture<'a, Result<()>> {
        const SQL: &str = "UPDATE tramline_outbox SET lease = 0, lease_until = 0,
             attempts = attempts + 1, parked = 1, error = ?3 WHERE id = ?1 AND lease = ?2";
        let error = error.to_owned();
        Box::pin(self.change(Plan::durable(1), move |connection| {
            let parameters = params![row.row, row.lease, error];
            connection.prepare_cached(SQL)?.execute(parameters).map(|_| ())
        }))
    }

    fn release(&self) -> BoxFuture<'_, Result<u64>> {
        const SQL: &str = "UPDATE tramline_outbox SET parked = 0, attempts = 0, hold_until = ?1
             WHERE parked = 1";
        Box::pin(async move {
            let release = move |work: &Work<'_>| {
                let released = work
                    .connection
                    .prepare_cached(SQL)
                    .and_then(|mut update| update.execute([work.now().as_micros()]))
                    .map_err(|error| failed("release parked rows of the outbox", error))?;
                if released > 0 {
                    work.wake(OUTBOX);
                }
                Ok(released as u64)
            };
            self.core.write(Plan::durable(1), release).await.map_err(WriteError::into_error)
        })
    }

    fn give_back<'a>(
        &'a self,
        _rows: &'a [OutboxToken],
        _until: Timestamp,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(std::future::ready(Err(Error::unsupported("rows given back", "sqlite"))))
    }

    fn parked(&self, _after: Option<i64>, _limit: u32) -> BoxFuture<'_, Result<Vec<ParkedRow>>> {
        Box::pin(std::future::ready(Err(Error::unsupported("parked rows", "sqlite"))))
    }

    fn discard<'a>(&'a self, _rows: &'a [i64]) -> BoxFuture<'a, Result<u64>> {
        Box::pin(std::future::ready(Err(Error::unsupported("discarding", "sqlite"))))
    }

    fn depth(&self) -> BoxFuture<'_, Result<(u64, u64)>> {
        const SQL: &str = "SELECT count(*) FILTER (WHERE parked = 0),
             count(*) FILTER (WHERE parked = 1) FROM tramline_outbox";
        Box::pin(self.core.look("look into the outbox", |connection| {
            connection.query_row(SQL, [], |row| {
                Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
            })
        }))
    }

    fn next_due(&self) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        const SQL: &str = "SELECT min(max(hold_until, lease_until)) FROM tramline_outbox AS waiting
             LEFT JOIN (
                 SELECT key, min(id) AS id FROM tramline_outbox
                 WHERE parked = 1 AND key IS NOT NULL GROUP BY key
             ) AS parked_first ON parked_first.key = waiting.key
             WHERE parked = 0 AND (parked_first.id IS NULL OR waiting.id < parked_first.id)";
        Box::pin(self.core.look("look into the outbox", |connection| {
            let due: Option<i64> = connection.query_row(SQL, [], |row| row.get(0))?;
            Ok(due.map(Timestamp::from_micros))
        }))
    }

    fn appended(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.note_relay().await;
            self.core.shared.hub.outbox().heard().await;
        })
    }
}

impl Sqlite {
    /// A row that cannot be read waits for an operator; the others go on.
    async fn park_unreadable(&self, rows: Vec<Claimed>) -> Result<Vec<OutboxRow>> {
        let mut readable = Vec::with_capacity(rows.len());
        for Claimed { token, stored } in rows {
            match stored.map_err(|error| error.to_string()).and_then(|stored| stored.open(token)) {
                Ok(row) => readable.push(row),
                Err(why) => {
                    let error = corrupt(format!("read row {} of the outbox", token.row), why);
                    tracing::error!(%error, "parked");
                    self.park(token, &error.to_string()).await?;
                }
            }
        }
        Ok(readable)
    }

    /// Changes rows of the outbox on the writer.
    async fn change(
        &self,
        plan: Plan,
        change: impl Fn(&Connection) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<()> {
        let write = move |work: &Work<'_>| {
            change(work.connection).map_err(|error| failed("change the outbox", error))
        };
        self.core.write(plan, write).await.map_err(WriteError::into_error)
    }

    /// Other processes wake this one for the outbox from now on.
    async fn note_relay(&self) {
        let hub = &self.core.shared.hub;
        if hub.is_relay() {
            return;
        }
        match self.core.write(Plan::passing(1), |work| work.consume(OUTBOX)).await {
            Ok(()) => hub.becomes_relay(),
            Err(error) => tracing::warn!(%error, "other processes do not wake this relay"),
        }
    }
}

/// A claimed row, or why its columns cannot be read.
struct Claimed {
    token: OutboxToken,
    stored: rusqlite::Result<Stored>,
}

/// What stands in a row, not yet decoded.
struct Stored {
    attempts: u32,
    destination: String,
    envelope: String,
    body: Bytes,
}

/// Walks the rows in order. A row that is at work, was postponed or is parked holds back the others
/// of its key; one that only waits for its due time does not.
fn claim(work: &Work<'_>, limit: u32, lease: Duration, now: Timestamp) -> Result<Vec<Claimed>> {
    const WALK: &str = "SELECT id, key, attempts, hold_until, lease_until, parked
         FROM tramline_outbox WHERE parked = 0 OR key IS NOT NULL ORDER BY id";
    const TAKE: &str =
        "UPDATE tramline_outbox SET lease = ?2, lease_until = ?3, process = ?4 WHERE id = ?1
         RETURNING attempts, destination, envelope, body";
    let (token, process) = (work.token()?, work.process()?);
    let claim = || -> rusqlite::Result<Vec<Claimed>> {
        let mut walk = work.connection.prepare_cached(WALK)?;
        let mut rows = walk.query([])?;
        let mut held_keys: HashSet<String> = HashSet::new();
        let mut ids: Vec<i64> = Vec::new();
        while ids.len() < limit as usize
            && let Some(row) = rows.next()?
        {
            let key: Option<String> = row.get(1)?;
            let (attempts, hold_until, lease_until): (u32, i64, i64) =
                (row.get(2)?, row.get(3)?, row.get(4)?);
            let (is_held, is_at_work) =
                (hold_until > now.as_micros(), lease_until > now.as_micros());
            if key.as_ref().is_some_and(|key| held_keys.contains(key)) {
                continue;
            }
            if row.get(5)? {
                held_keys.extend(key);
            } else if !is_held && !is_at_work {
                ids.push(row.get(0)?);
            } else if is_at_work || attempts > 0 {
                held_keys.extend(key);
            }
        }
        drop(rows);
        let until = now.after(lease).as_micros();
        let mut take = work.connection.prepare_cached(TAKE)?;
        let (mut claimed, mut bytes) = (Vec::with_capacity(ids.len()), 0);
        for id in ids {
            let stored =
                take.query_row([id, token, until, process], |row| Ok(Stored::read(row)))?;
            bytes += stored.as_ref().map_or(0, |stored| stored.body.len());
            claimed.push(Claimed { token: OutboxToken { row: id, lease: token }, stored });
            if bytes >= CLAIM_BYTES_MAX {
                break;
            }
        }
        Ok(claimed)
    };
    claim().map_err(|error| failed("claim rows of the outbox", error))
}

/// Lets go of rows that were claimed by processes that have no row any more: their relays are gone.
pub(crate) fn take_back(work: &Work<'_>) -> rusqlite::Result<()> {
    let freed = work
        .connection
        .prepare_cached(
            "UPDATE tramline_outbox SET lease = 0, lease_until = 0, process = 0
             WHERE lease <> 0 AND process NOT IN (SELECT id FROM tramline_process)",
        )?
        .execute([])?;
    if freed > 0 {
        work.wake(OUTBOX);
    }
    Ok(())
}

impl Stored {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            attempts: row.get(0)?,
            destination: row.get(1)?,
            envelope: row.get(2)?,
            body: Bytes::copy_from_slice(row.get_ref(3)?.as_bytes()?),
        })
    }

    /// Its due time has come, and it leaves without one: not every broker knows delays.
    fn open(self, token: OutboxToken) -> Result<OutboxRow, String> {
        let unreadable = |error: serde_json::Error| error.to_string();
        let address: Address = serde_json::from_str(&self.destination).map_err(unreadable)?;
        let mut envelope: Envelope = serde_json::from_str(&self.envelope).map_err(unreadable)?;
        envelope.body = self.body;
        let to = address.into();
        let outgoing = Outgoing { to, envelope: Arc::new(envelope), due: None, copy: None };
        Ok(OutboxRow { token, outgoing, attempts: self.attempts })
    }
}

impl From<Destination> for Address {
    fn from(to: Destination) -> Self {
        match to {
            Destination::Queue(queue) => Self::Queue(queue),
            Destination::Topic { name, subject } => Self::Topic { name, subject },
            Destination::Foreign { exchange, routing_key } => {
                Self::Foreign { exchange, routing_key }
            }
            Destination::Address(address) => Self::Reply(address),
        }
    }
}

impl From<Address> for Destination {
    fn from(address: Address) -> Self {
        match address {
            Address::Queue(queue) => Self::Queue(queue),
            Address::Topic { name, subject } => Self::Topic { name, subject },
            Address::Foreign { exchange, routing_key } => Self::Foreign { exchange, routing_key },
            Address::Reply(address) => Self::Address(address),
        }
    }
}
