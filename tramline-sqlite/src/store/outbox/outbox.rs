//! The contract of the outbox, kept by a file.

use super::aside;
use super::claim::{self, Claimed, Claims, claim};
use crate::error::{corrupt, failed};
use crate::sqlite::Sqlite;
use crate::writer::{Plan, Work, WriteError};
use rusqlite::params;
use std::time::Duration;
use tramline_core::clock::Timestamp;
use tramline_core::rows::OUTBOX;
use tramline_core::store::{Outbox, OutboxRow, OutboxToken, ParkedRow};
use tramline_core::{BoxFuture, Result};

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
                let Claims { rows, is_partial } = rows.map_err(WriteError::into_error)?;
                let claimed = rows.len();
                let readable = self.park_unreadable(rows).await?;
                // Each time some rows are parked or set aside: the loop ends with the outbox.
                if claimed == 0 && !is_partial || !readable.is_empty() {
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
            self.change(Plan::passing(rows.len()), "remove sent rows of the outbox", move |work| {
                let mut delete = work.connection.prepare_cached(SQL)?;
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
        Box::pin(self.change(Plan::durable(1), "postpone a row of the outbox", move |work| {
            let parameters = params![row.row, row.lease, until.as_micros(), error];
            work.connection.prepare_cached(SQL)?.execute(parameters).map(|_| ())
        }))
    }

    fn give_back<'a>(
        &'a self,
        rows: &'a [OutboxToken],
        until: Timestamp,
    ) -> BoxFuture<'a, Result<()>> {
        const SQL: &str = "UPDATE tramline_outbox SET lease = 0, lease_until = 0, process = 0,
             hold_until = ?3 WHERE id = ?1 AND lease = ?2";
        let rows = rows.to_vec();
        let plan = Plan::passing(rows.len());
        Box::pin(self.change(plan, "give rows of the outbox back", move |work| {
            let mut given_back = 0;
            for row in &rows {
                let parameters = [row.row, row.lease, until.as_micros()];
                given_back += work.connection.prepare_cached(SQL)?.execute(parameters)?;
            }
            if given_back > 0 && until <= work.now() {
                work.wake(OUTBOX);
            }
            Ok(())
        }))
    }

    fn park<'a>(&'a self, row: OutboxToken, error: &'a str) -> BoxFuture<'a, Result<()>> {
        let error = error.to_owned();
        Box::pin(self.change(Plan::durable(1), "park a row of the outbox", move |work| {
            aside::park(work, row.row, row.lease, &error)
        }))
    }

    fn parked(&self, after: Option<i64>, limit: u32) -> BoxFuture<'_, Result<Vec<ParkedRow>>> {
        let after = after.unwrap_or(i64::MIN);
        Box::pin(self.core.look("look into the outbox", move |connection| {
            aside::parked(connection, after, limit)
        }))
    }

    fn release(&self) -> BoxFuture<'_, Result<u64>> {
        Box::pin(self.change(Plan::durable(1), "release parked rows of the outbox", |work| {
            Ok(aside::release(work)? as u64)
        }))
    }

    fn discard<'a>(&'a self, rows: &'a [i64]) -> BoxFuture<'a, Result<u64>> {
        let rows = rows.to_vec();
        let plan = Plan::durable(rows.len());
        Box::pin(self.change(plan, "discard parked rows of the outbox", move |work| {
            Ok(aside::discard(work, &rows)? as u64)
        }))
    }

    fn depth(&self) -> BoxFuture<'_, Result<(u64, u64)>> {
        const SQL: &str = "SELECT
             (SELECT count(*) FROM tramline_outbox)
                 + count(*) FILTER (WHERE parked = 0),
             count(*) FILTER (WHERE parked = 1) FROM tramline_outbox_aside";
        Box::pin(self.core.look("look into the outbox", |connection| {
            connection.query_row(SQL, [], |row| {
                Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
            })
        }))
    }

    fn next_due(&self) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        let now = self.core.shared.settings.clock.now();
        Box::pin(
            self.core
                .look("look into the outbox", move |connection| claim::next_due(connection, now)),
        )
    }

    /// Transactions of `sqlx` append to it, whatever the transport is.
    fn is_shared(&self) -> bool {
        cfg!(feature = "sqlx")
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
            let attempts = stored.as_ref().map_or(0, |stored| stored.attempts);
            let opened = stored.map_err(|error| error.to_string());
            match opened.and_then(|stored| stored.open().map_err(|error| error.to_string())) {
                Ok(outgoing) => readable.push(OutboxRow { token, outgoing, attempts }),
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
    async fn change<T: Send + 'static>(
        &self,
        plan: Plan,
        doing: &'static str,
        change: impl Fn(&Work<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let write = move |work: &Work<'_>| change(work).map_err(|error| failed(doing, error));
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
