//! What the tables add up to. Each is one statement, so its figures are of one moment.

use super::database::Database;
use super::patience::patiently;
use crate::database::{Due, Effects};
use crate::money::Money;
use tramline::Failure;
use tramline::postgres::sqlx::{self, Row, postgres::PgRow};

const EFFECTS: &str = "SELECT
    (SELECT count(*) FROM shop.orders) AS orders,
    ledger.charges, ledger.orders_charged, ledger.cents AS revenue, ledger.failed_attempts,
    (SELECT coalesce(sum(units), 0)::bigint FROM shop.picked) AS units_taken,
    (SELECT count(*) FROM shop.mail) AS mails,
    takings.orders AS counted_orders, takings.cents AS counted_revenue,
    (SELECT count(*) FROM shop.vip) AS vips,
    (SELECT count(*) FROM shop.kill) AS kills,
    (SELECT count(*) FROM shop.kill WHERE worker = -1) AS broker_kills,
    (SELECT coalesce(sum(seen_at - started_at), 0)::bigint FROM shop.run) AS run_micros,
    ARRAY(SELECT greatest(mail.written_at - orders.received_at, 0)
        FROM shop.mail JOIN shop.orders USING (order_id) ORDER BY 1) AS latencies
  FROM
    (SELECT count(*) AS charges, count(DISTINCT order_id) AS orders_charged,
        coalesce(sum(cents), 0)::bigint AS cents,
        coalesce(sum(attempt - 1), 0)::bigint AS failed_attempts
     FROM shop.ledger) AS ledger,
    (SELECT coalesce(sum(orders), 0)::bigint AS orders, coalesce(sum(cents), 0)::bigint AS cents
     FROM shop.takings) AS takings";

/// Nothing of it can be a lookup: what was placed by hand, or before a crash, counts as well.
const DUE: &str = "SELECT
    placed.chargeable, placed.rejected, placed.vips AS vips_due, placed.units AS units_due,
    (SELECT count(*) FROM shop.ledger) AS charges,
    (SELECT coalesce(sum(units), 0)::bigint FROM shop.picked) AS units_taken,
    (SELECT count(*) FROM shop.vip) AS vips,
    (SELECT count(*) FROM shop.mail) AS mails,
    (SELECT coalesce(sum(orders), 0)::bigint FROM shop.takings) AS counted_orders
  FROM
    (SELECT count(*) FILTER (WHERE cents > 0) AS chargeable,
        count(*) FILTER (WHERE cents <= 0) AS rejected,
        count(*) FILTER (WHERE cents > 100000) AS vips,
        coalesce(sum(abs(units)), 0)::bigint AS units
     FROM shop.orders) AS placed";

impl Database {
    pub(crate) async fn due(&self) -> Result<Due, Failure> {
        due(&patiently(|| sqlx::query(DUE).fetch_one(self.pool())).await?)
    }

    pub(crate) async fn effects(&self) -> Result<Effects, Failure> {
        effects(&patiently(|| sqlx::query(EFFECTS).fetch_one(self.pool())).await?)
    }

    pub(crate) async fn mails_written(&self) -> Result<u64, Failure> {
        const SQL: &str = "SELECT count(*) AS mails FROM shop.mail";
        count(&patiently(|| sqlx::query(SQL).fetch_one(self.pool())).await?, "mails")
    }
}

fn effects(row: &PgRow) -> Result<Effects, Failure> {
    let latencies: Vec<i64> = row.try_get("latencies")?;
    Ok(Effects {
        orders: count(row, "orders")?,
        charges: count(row, "charges")?,
        orders_charged: count(row, "orders_charged")?,
        revenue: Money::of_cents(row.try_get("revenue")?),
        failed_attempts: count(row, "failed_attempts")?,
        units_taken: count(row, "units_taken")?,
        mails: count(row, "mails")?,
        counted_orders: count(row, "counted_orders")?,
        counted_revenue: Money::of_cents(row.try_get("counted_revenue")?),
        vips: count(row, "vips")?,
        kills: count(row, "kills")?,
        broker_kills: count(row, "broker_kills")?,
        run_micros: count(row, "run_micros")?,
        latencies_micros: latencies.into_iter().map(i64::unsigned_abs).collect(),
    })
}

fn due(row: &PgRow) -> Result<Due, Failure> {
    let (charges, mails) = (count(row, "charges")?, count(row, "mails")?);
    Ok(Due {
        charges: count(row, "chargeable")?.saturating_sub(charges),
        units: count(row, "units_due")?.saturating_sub(count(row, "units_taken")?),
        vips: count(row, "vips_due")?.saturating_sub(count(row, "vips")?),
        mails: charges.saturating_sub(mails),
        counts: charges.saturating_sub(count(row, "counted_orders")?),
        rejected: count(row, "rejected")?,
        mailed: mails,
    })
}

/// A figure that is never negative.
fn count(row: &PgRow, column: &str) -> Result<u64, Failure> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?)?)
}
