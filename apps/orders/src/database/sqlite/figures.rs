//! What the tables add up to.

use super::database::Database;
use crate::database::{Due, Effects};
use crate::money::Money;
use tramline::Failure;
use tramline::sqlite::Snapshot;
use tramline::sqlite::rusqlite::{self, Row};

const TOTALS: &str = "SELECT
    (SELECT count(*) FROM orders) AS orders,
    ledger.charges, ledger.orders_charged, ledger.cents AS revenue, ledger.failed_attempts,
    (SELECT sum(units_delivered - units_left) FROM stock) AS units_taken,
    (SELECT count(*) FROM mail) AS mails,
    takings.orders AS counted_orders, takings.cents AS counted_revenue,
    (SELECT count(*) FROM vip) AS vips,
    (SELECT count(*) FROM kill) AS kills,
    (SELECT count(*) FROM kill WHERE worker = -1) AS broker_kills,
    (SELECT coalesce(sum(seen_at - started_at), 0) FROM run) AS run_micros
  FROM
    (SELECT count(*) AS charges, count(DISTINCT order_id) AS orders_charged,
        coalesce(sum(cents), 0) AS cents, coalesce(sum(attempt - 1), 0) AS failed_attempts
     FROM ledger) AS ledger,
    (SELECT coalesce(sum(orders), 0) AS orders, coalesce(sum(cents), 0) AS cents
     FROM takings) AS takings";

const LATENCIES: &str = "SELECT max(mail.written_at - orders.received_at, 0) AS latency
    FROM mail JOIN orders USING (order_id) ORDER BY latency";

/// Nothing of it can be a lookup: what was placed by hand, or before a crash, counts as well.
const DUE: &str = "SELECT
    placed.chargeable, placed.rejected, placed.vips AS vips_due, placed.units AS units_due,
    (SELECT count(*) FROM ledger) AS charges,
    (SELECT sum(units_delivered - units_left) FROM stock) AS units_taken,
    (SELECT count(*) FROM vip) AS vips,
    (SELECT count(*) FROM mail) AS mails,
    (SELECT coalesce(sum(orders), 0) FROM takings) AS counted_orders
  FROM
    (SELECT coalesce(sum(cents > 0), 0) AS chargeable, coalesce(sum(cents <= 0), 0) AS rejected,
        coalesce(sum(cents > 100000), 0) AS vips, coalesce(sum(abs(units)), 0) AS units
     FROM orders) AS placed";

impl Database {
    pub(crate) async fn due(&self) -> Result<Due, Failure> {
        self.sqlite.read(|snapshot| Ok(snapshot.query_row(DUE, [], due)?)).await
    }

    pub(crate) async fn effects(&self) -> Result<Effects, Failure> {
        self.sqlite.read(|snapshot| Ok(effects(snapshot)?)).await
    }

    pub(crate) async fn mails_written(&self) -> Result<u64, Failure> {
        // Rows are never deleted, so the last one's id is their number. The report counts them.
        const SQL: &str = "SELECT coalesce(max(id), 0) AS mails FROM mail";
        let read = |row: &Row<'_>| count(row, "mails");
        self.sqlite.read(move |snapshot| Ok(snapshot.query_row(SQL, [], read)?)).await
    }
}

fn effects(snapshot: &Snapshot<'_>) -> rusqlite::Result<Effects> {
    let latencies_micros = snapshot.query_map(LATENCIES, [], |row| count(row, "latency"))?;
    snapshot.query_row(TOTALS, [], |row| {
        Ok(Effects {
            orders: count(row, "orders")?,
            charges: count(row, "charges")?,
            orders_charged: count(row, "orders_charged")?,
            revenue: Money::of_cents(row.get("revenue")?),
            failed_attempts: count(row, "failed_attempts")?,
            units_taken: count(row, "units_taken")?,
            mails: count(row, "mails")?,
            counted_orders: count(row, "counted_orders")?,
            counted_revenue: Money::of_cents(row.get("counted_revenue")?),
            vips: count(row, "vips")?,
            kills: count(row, "kills")?,
            broker_kills: count(row, "broker_kills")?,
            run_micros: count(row, "run_micros")?,
            latencies_micros,
        })
    })
}

fn due(row: &Row<'_>) -> rusqlite::Result<Due> {
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
fn count(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    let count: i64 = row.get(column)?;
    u64::try_from(count).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, count))
}
