//! A handle on the tables.

use super::patience::{patiently, while_away};
use super::schema;
use crate::database::KnownOrder;
use crate::database::stock::UNITS_DELIVERED;
use crate::money::Money;
use crate::order::Order;
use tramline::core::store::Store;
use tramline::postgres::sqlx::{self, PgPool, Row, postgres::PgRow};
use tramline::{Error, Failure, MessageId, Postgres};

/// The business tables in one PostgreSQL database, in a schema of their own. Clones are the same handle.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pub(super) postgres: Postgres,
}

/// How many transactions of one process may be open at once: three processes are at work, and a server
/// takes a hundred connections unless it is told otherwise.
const CONNECTIONS: u32 = 16;

impl Database {
    /// Opens what `url` names and makes the tables that are not there.
    pub(crate) async fn open(url: &str) -> Result<Self, Failure> {
        let postgres = Postgres::options(url).handlers_max(CONNECTIONS).open().await?;
        schema::create(postgres.pool()).await?;
        Ok(Self { postgres })
    }

    /// The name of the broker that these tables are bound to: `broker`, if there was none before.
    pub(crate) async fn bind(&self, broker: &str) -> Result<String, Failure> {
        const BIND: &str = "INSERT INTO shop.broker VALUES (1, $1) ON CONFLICT DO NOTHING";
        sqlx::query(BIND).bind(broker).execute(self.pool()).await?;
        let bound = sqlx::query_scalar("SELECT name FROM shop.broker");
        Ok(bound.fetch_one(self.pool()).await?)
    }

    pub(crate) fn store(&self) -> &Postgres {
        &self.postgres
    }

    pub(super) fn pool(&self) -> &PgPool {
        self.postgres.pool()
    }

    pub(crate) async fn units_left(&self) -> Result<i64, Failure> {
        const SQL: &str = "SELECT $1 - coalesce(sum(units), 0)::bigint FROM shop.picked";
        let left = || sqlx::query_scalar(SQL).bind(UNITS_DELIVERED).fetch_one(self.pool());
        Ok(patiently(left).await?)
    }

    pub(crate) async fn outbox_depth(&self) -> Result<u64, Failure> {
        let depth = || self.postgres.outbox().depth();
        let (waiting, parked) = while_away(Error::is_transient, depth).await?;
        Ok(waiting + parked)
    }

    pub(crate) async fn find(&self, order_id: i64) -> Result<Option<KnownOrder>, Failure> {
        const SQL: &str = "SELECT order_id, user_id, date::text, units, cents, event_id,
                EXISTS (SELECT FROM shop.ledger l WHERE l.order_id = o.order_id) AS is_paid
            FROM shop.orders o WHERE order_id = $1";
        let found = sqlx::query(SQL).bind(order_id).fetch_optional(self.pool()).await?;
        found.as_ref().map(known_order).transpose()
    }

    pub(crate) async fn orders(&self) -> Result<Vec<KnownOrder>, Failure> {
        const SQL: &str = "SELECT order_id, user_id, date::text, units, cents, event_id,
                EXISTS (SELECT FROM shop.ledger l WHERE l.order_id = o.order_id) AS is_paid
            FROM shop.orders o ORDER BY order_id";
        let rows = patiently(|| sqlx::query(SQL).fetch_all(self.pool())).await?;
        rows.iter().map(known_order).collect()
    }
}

fn known_order(row: &PgRow) -> Result<KnownOrder, Failure> {
    let event_id: MessageId = row.try_get::<&str, _>("event_id")?.parse()?;
    Ok(KnownOrder { order: order(row)?, event_id, is_paid: row.try_get("is_paid")? })
}

pub(super) fn order(row: &PgRow) -> Result<Order, Failure> {
    Ok(Order {
        order_id: row.try_get("order_id")?,
        user_id: row.try_get("user_id")?,
        date: row.try_get::<&str, _>("date")?.parse()?,
        units: row.try_get("units")?,
        total: Money::of_cents(row.try_get("cents")?),
    })
}
