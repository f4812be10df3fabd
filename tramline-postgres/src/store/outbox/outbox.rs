//! The contract of the outbox, kept by a server.

use super::asking::Asking;
use super::rest::Rest;
use super::stored::{Stored, stored};
use crate::error::failed;
use crate::link::Connected;
use crate::open::{Core, OUTBOX};
use crate::postgres::Postgres;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use tramline_core::clock::Timestamp;
use tramline_core::store::{Outbox, OutboxRow, OutboxToken, ParkedRow};
use tramline_core::{BoxFuture, Error, ErrorKind, Result};

/// How many bytes of bodies one claim brings, give or take the last row.
pub(in crate::store) const CLAIM_BYTES_MAX: i64 = 16 * 1024 * 1024;

impl Outbox for Postgres {
    fn claim(
        &self,
        limit: u32,
        lease: Duration,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<OutboxRow>>> {
        Box::pin(async move {
            loop {
                let (asking, claimed) = claim(&self.core, limit, lease, now).await?;
                if claimed.is_empty() {
                    asking.answered();
                    match Rest::finds_nothing(&self.core).await? {
                        true => continue,
                        false => return Ok(Vec::new()),
                    }
                }
                Rest::finds(&self.core);
                let readable = park_unreadable(&self.core, claimed).await?;
                asking.answered();
                // Each time some rows are parked: the loop ends with the outbox.
                if !readable.is_empty() {
                    return Ok(readable);
                }
            }
        })
    }

    fn sent<'a>(&'a self, rows: &'a [OutboxToken]) -> BoxFuture<'a, Result<()>> {
        const SQL: &str = "SELECT tramline.sent($1, $2)";
        Box::pin(async move {
            let doing = "remove sent rows of the outbox";
            for (lease, ids) in by_lease(rows) {
                self.core.relay(doing, SQL, &[&lease, &ids]).await?;
            }
            Ok(())
        })
    }

    fn postpone<'a>(
        &'a self,
        row: OutboxToken,
        until: Timestamp,
        error: &'a str,
    ) -> BoxFuture<'a, Result<()>> {
        const SQL: &str = "SELECT tramline.postpone($1, $2, $3, $4)";
        Box::pin(async move {
            let (doing, error) = ("postpone a row of the outbox", text(error));
            let (lease, until) = (row.lease, self.core.there(until).as_micros());
            self.core.relay(doing, SQL, &[&lease, &row.row, &until, &error]).await.map(drop)
        })
    }

    fn give_back<'a>(
        &'a self,
        rows: &'a [OutboxToken],
        until: Timestamp,
    ) -> BoxFuture<'a, Result<()>> {
        const SQL: &str = "SELECT tramline.return_to_outbox($1, $2, $3)";
        Box::pin(async move {
            let doing = "give rows of the outbox back";
            for (lease, ids) in by_lease(rows) {
                let until = self.core.there(until).as_micros();
                self.core.relay(doing, SQL, &[&lease, &ids, &until]).await?;
            }
            if !rows.is_empty() && until <= self.core.here() {
                self.core.woken_by_commit([OUTBOX]);
            }
            Ok(())
        })
    }

    fn park<'a>(&'a self, row: OutboxToken, error: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(park(&self.core, row, error))
    }

    fn parked(&self, after: Option<i64>, limit: u32) -> BoxFuture<'_, Result<Vec<ParkedRow>>> {
        const SQL: &str = concat!(
            "SELECT ",
            stored!(),
            " FROM tramline.outbox_aside WHERE parked AND id > $1 ORDER BY id LIMIT $2"
        );
        Box::pin(async move {
            let after = after.unwrap_or(i64::MIN);
            let doing = "look into the outbox";
            let rows = self.core.relay(doing, SQL, &[&after, &i64::from(limit)]).await?;
            Ok(rows.iter().map(Stored::read).map(shown).collect())
        })
    }

    fn release(&self) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async {
            let doing = "release parked rows of the outbox";
            let released = self.core.relay_count(doing, "SELECT tramline.release()", &[]).await?;
            self.core.woken_by_commit([OUTBOX]);
            Ok(released)
        })
    }

    fn discard<'a>(&'a self, rows: &'a [i64]) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let doing = "discard parked rows of the outbox";
            let sql = "SELECT tramline.discard($1)";
            let discarded = self.core.relay_count(doing, sql, &[&rows]).await?;
            self.core.woken_by_commit([OUTBOX]);
            Ok(discarded)
        })
    }

    fn depth(&self) -> BoxFuture<'_, Result<(u64, u64)>> {
        const SQL: &str = "SELECT
             (SELECT count(*) FROM tramline.outbox) + (SELECT count(*) FROM tramline.outbox_delayed)
                 + count(*) FILTER (WHERE NOT parked),
             count(*) FILTER (WHERE parked) FROM tramline.outbox_aside";
        Box::pin(async {
            let rows = self.core.relay("look into the outbox", SQL, &[]).await?;
            let count = |row: &Row, column| row.get::<_, i64>(column).unsigned_abs();
            Ok(rows.first().map(|row| (count(row, 0), count(row, 1))).unwrap_or_default())
        })
    }

    fn next_due(&self) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        Box::pin(async {
            let now = self.core.there(self.core.here()).as_micros();
            let sql = "SELECT tramline.outbox_next_due($1)";
            let rows = self.core.relay("look into the outbox", sql, &[&now]).await?;
            let due: Option<i64> = rows.first().and_then(|row| row.get(0));
            Ok(due.map(|due| self.core.here_of(Timestamp::from_micros(due))))
        })
    }

    /// SQL's `tramline.publish` appends to it, and so do transactions of the user's own.
    fn is_shared(&self) -> bool {
        true
    }

    fn appended(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.core.hub.becomes_relay();
            self.core.attend();
            tokio::select! {
                biased;
                () = self.core.hub.outbox().heard() => {}
                () = Rest::ends(&self.core) => {}
            }
        })
    }
}

/// Takes rows under a new lease. What was taken and does not reach the relay, because the call failed or was
/// dropped, the next one gives back.
async fn claim(
    core: &Arc<Core>,
    limit: u32,
    lease: Duration,
    now: Timestamp,
) -> Result<(Asking<'_>, Vec<(OutboxToken, Stored)>)> {
    const SQL: &str = concat!(
        "SELECT ",
        stored!(),
        " FROM tramline.claim_outbox($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
    );
    core.attend();
    let token = (core.settings.entropy.bits() as i64) & i64::MAX;
    let asking = Asking::of(core, token);
    let limit = i32::try_from(limit).unwrap_or(i32::MAX);
    let lease = i64::try_from(lease.as_micros()).unwrap_or(i64::MAX / 2);
    let (process, label, process_lease) = (&core.process, &core.label, core.lease_micros());
    let (now, wound) = (core.there(now).as_micros(), core.now());
    let params: [&(dyn ToSql + Sync); 10] = [
        &token,
        &limit,
        &CLAIM_BYTES_MAX,
        &lease,
        &now,
        process,
        label,
        &process_lease,
        &wound,
        asking.unknown(),
    ];
    let rows = core.relay("claim rows of the outbox", SQL, &params).await?;
    if !rows.is_empty() {
        core.announced.took();
    }
    let claimed = rows.iter().map(Stored::read);
    let claimed = claimed.map(|stored| (OutboxToken { row: stored.row, lease: token }, stored));
    Ok((asking, claimed.collect()))
}

/// A row that cannot be read waits for an operator; the others go on.
async fn park_unreadable(
    core: &Core,
    claimed: Vec<(OutboxToken, Stored)>,
) -> Result<Vec<OutboxRow>> {
    let mut readable = Vec::with_capacity(claimed.len());
    for (token, stored) in claimed {
        let attempts = stored.attempts;
        match stored.open() {
            Ok(outgoing) => readable.push(OutboxRow { token, outgoing, attempts }),
            Err(why) => {
                let doing = format!("read row {} of the outbox", token.row);
                let error = Error::new(ErrorKind::Corrupt, doing).because(why);
                tracing::error!(%error, "parked");
                park(core, token, &error.to_string()).await?;
            }
        }
    }
    Ok(readable)
}

async fn park(core: &Core, row: OutboxToken, error: &str) -> Result<()> {
    let (doing, error) = ("park a row of the outbox", text(error));
    let sql = "SELECT tramline.park($1, $2, $3)";
    core.relay(doing, sql, &[&row.lease, &row.row, &error]).await.map(drop)
}

fn shown(stored: Stored) -> ParkedRow {
    let (row, attempts) = (stored.row, stored.attempts);
    let error = stored.error.clone().unwrap_or_default();
    ParkedRow { row, outgoing: stored.open().ok(), attempts, error }
}

/// A claim's rows have one lease; those of several are told apart.
fn by_lease(rows: &[OutboxToken]) -> BTreeMap<i64, Vec<i64>> {
    let mut leases: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    rows.iter().for_each(|token| leases.entry(token.lease).or_default().push(token.row));
    leases
}

/// A text as PostgreSQL can keep it, for people.
fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

impl Core {
    /// One call for the relay.
    async fn relay(
        &self,
        doing: &'static str,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>> {
        self.refuse_when_outdated()?;
        let connected: Arc<Connected> = self.relaying.try_connected().await?;
        match connected.query(sql, params).await {
            Ok(rows) => Ok(rows),
            Err(error) => {
                Err(self.explained(failed(format!("{doing} in {}", self.target), &error)).await)
            }
        }
    }

    async fn relay_count(
        &self,
        doing: &'static str,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<u64> {
        let rows = self.relay(doing, sql, params).await?;
        Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0).unsigned_abs()))
    }
}
