//! The calls that write messages inside a transaction of `sqlx`.

use super::messages::Outward;
use crate::open::Core;
use crate::queue::{RouteRow, Routes};
use crate::send::{BORN_HERE, Columns, Placed, Placing, Step};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use std::sync::Arc;
use tramline_core::store::DatabaseId;

/// A transaction to write messages in.
pub(super) struct Within<'c> {
    pub(super) connection: &'c mut PgConnection,
    /// The identity of the database that it has to be on, where that is not known. Then its id is asked
    /// for, too.
    pub(super) database: Option<String>,
}

/// What became of a step.
pub(super) enum Stepped {
    /// It is done; the message of a `Place`, by its index, was placed so.
    Done(Option<(usize, Placed)>),
    /// The routes are old, and nothing was done.
    Stale,
}

/// Why a step was not taken.
pub(super) enum StepError {
    /// The transaction is on another database.
    Elsewhere,
    Sqlx(sqlx::Error),
}

impl From<sqlx::Error> for StepError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlx(error)
    }
}

/// The part of a database's identity that a transaction can cheaply compare: which database of its
/// server, and which making of its tables.
pub(super) fn identity(database: &DatabaseId) -> String {
    let whole = database.to_string();
    whole.split_once('/').map_or(whole.as_str(), |(_, rest)| rest).to_owned()
}

impl Within<'_> {
    /// Takes one step. Answers, beside what became of it, the transaction's id if it was asked for.
    pub(super) async fn step(
        &mut self,
        core: &Core,
        version: i64,
        step: &Step<'_>,
    ) -> Result<(Stepped, String), StepError> {
        match step {
            Step::Put(columns) => self.put(core, version, columns).await,
            Step::Place(index, parcel, legs) => {
                let placing = Placing::of(parcel, legs, BORN_HERE);
                let (row, xid) = self.place(core, version, &placing).await?;
                Ok((
                    match Placing::answered(row.try_get(1)?, legs) {
                        Some(placed) => Stepped::Done(Some((*index, placed))),
                        None => Stepped::Stale,
                    },
                    xid,
                ))
            }
        }
    }

    async fn put(
        &mut self,
        core: &Core,
        version: i64,
        columns: &Columns<'_>,
    ) -> Result<(Stepped, String), StepError> {
        const PUT: &str =
            "SELECT x, CASE WHEN x IS NOT NULL THEN tramline.put($2, $3, $4, $5, $6, $7,
            $8, $9, $10, $11, $12) END FROM tramline.enlist($1) AS x";
        let row = sqlx::query(PUT)
            .bind(&self.database)
            .bind(version)
            .bind(core.now())
            .bind(BORN_HERE)
            .bind(&columns.queues[..])
            .bind(&columns.ranks[..])
            .bind(&columns.lanes[..])
            .bind(&columns.dues[..])
            .bind(&columns.expires[..])
            .bind(&columns.keys[..])
            .bind(&columns.envelopes[..])
            .bind(&columns.bodies[..])
            .fetch_one(&mut *self.connection)
            .await?;
        let xid = xid(&row)?;
        let is_done: bool = row.try_get(1)?;
        Ok((if is_done { Stepped::Done(None) } else { Stepped::Stale }, xid))
    }

    async fn place(
        &mut self,
        core: &Core,
        version: i64,
        placing: &Placing<'_>,
    ) -> Result<(PgRow, String), StepError> {
        const PLACE: &str = "SELECT x, CASE WHEN x IS NOT NULL THEN tramline.place($2, $3, $4, $5, $6,
            $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) END FROM tramline.enlist($1) AS x";
        let row = sqlx::query(PLACE)
            .bind(&self.database)
            .bind(version)
            .bind(core.now())
            .bind(placing.flags)
            .bind(placing.is_judged)
            .bind(&placing.queues[..])
            .bind(&placing.ranks[..])
            .bind(&placing.seen_as)
            .bind(placing.due)
            .bind(placing.failures)
            .bind(placing.trials)
            .bind(placing.unhandled_since)
            .bind(placing.first_failed_at)
            .bind(placing.history)
            .bind(placing.expires_at)
            .bind(placing.key)
            .bind(placing.envelope)
            .bind(placing.body)
            .fetch_one(&mut *self.connection)
            .await?;
        let xid = xid(&row)?;
        Ok((row, xid))
    }

    /// Appends to the outbox. Answers as [`step`](Self::step).
    pub(super) async fn append(&mut self, outward: &Outward<'_>) -> Result<String, StepError> {
        const APPEND: &str =
            "SELECT x, CASE WHEN x IS NOT NULL THEN tramline.append($2, $3, $4, $5, $6)
            END FROM tramline.enlist($1) AS x";
        let row = sqlx::query(APPEND)
            .bind(&self.database)
            .bind(&outward.keys[..])
            .bind(&outward.dues[..])
            .bind(&outward.destinations[..])
            .bind(&outward.envelopes[..])
            .bind(&outward.bodies[..])
            .fetch_one(&mut *self.connection)
            .await?;
        xid(&row)
    }
}

fn xid(row: &PgRow) -> Result<String, StepError> {
    row.try_get::<Option<String>, _>(0)?.ok_or(StepError::Elsewhere)
}

/// Reads the routes as this connection sees them, which may be in an old snapshot.
pub(super) async fn routes(
    core: &Core,
    connection: &mut PgConnection,
) -> Result<Arc<Routes>, sqlx::Error> {
    let rows = sqlx::query(Routes::SQL).fetch_all(connection).await?;
    let rows: Result<Vec<RouteRow>, sqlx::Error> = rows.iter().map(route_row).collect();
    Ok(core.remember(Routes::of(rows?)))
}

fn route_row(row: &PgRow) -> Result<RouteRow, sqlx::Error> {
    Ok(RouteRow {
        version: row.try_get(0)?,
        queue: row.try_get(1)?,
        name: row.try_get(2)?,
        spec: row.try_get(3)?,
        topic: row.try_get(4)?,
        rules: row.try_get(5)?,
    })
}
