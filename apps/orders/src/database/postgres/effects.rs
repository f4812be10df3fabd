//! What handlers write.

use super::patience::{LIMIT, PAUSE};
use crate::clock::SharedClock;
use crate::database::{Tables, Takings};
use crate::gateway::refusals;
use crate::messages::{OrderEvent, OrderPaid};
use crate::order::Order;
use std::collections::BTreeMap;
use tokio::time::Instant;
use tramline::postgres::PostgresTx;
use tramline::postgres::sqlx::{self, PgConnection};
use tramline::{Attempt, Failure, Postgres, Tx};

/// Each handler has a connection of its own while it writes, so that many wait for few.
impl Tables for Postgres {
    const CONCURRENCY: usize = 16;

    async fn enter_charge(
        tx: &mut Tx<Self>,
        order: Order,
        attempt: Attempt,
    ) -> Result<(), Failure> {
        const SQL: &str = "INSERT INTO shop.ledger (order_id, cents, attempt, refusals)
            VALUES ($1, $2, $3, $4)";
        sqlx::query(SQL)
            .bind(order.order_id)
            .bind(order.total.cents)
            .bind(i64::from(attempt.0))
            .bind(i64::from(refusals(&order, attempt)))
            .execute(begun(tx).await?)
            .await?;
        tx.publish(OrderPaid(order).draft())
    }

    async fn take_from_stock(tx: &mut Tx<Self>, units: i64) -> Result<(), Failure> {
        sqlx::query("INSERT INTO shop.picked (item, units) VALUES ('cd', $1)")
            .bind(units)
            .execute(begun(tx).await?)
            .await?;
        Ok(())
    }

    async fn send_mail(
        tx: &mut Tx<Self>,
        order_id: i64,
        text: String,
        clock: SharedClock,
    ) -> Result<(), Failure> {
        sqlx::query("INSERT INTO shop.mail (order_id, text, written_at) VALUES ($1, $2, $3)")
            .bind(order_id)
            .bind(text)
            .bind(clock.now().as_micros())
            .execute(begun(tx).await?)
            .await?;
        Ok(())
    }

    async fn add_to_months(
        tx: &mut Tx<Self>,
        months: BTreeMap<String, Takings>,
    ) -> Result<(), Failure> {
        const SQL: &str = "INSERT INTO shop.takings (month, orders, cents)
            SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])";
        let takings = || months.values();
        sqlx::query(SQL)
            .bind(months.keys().cloned().collect::<Vec<String>>())
            .bind(takings().map(|takings| takings.orders).collect::<Vec<i64>>())
            .bind(takings().map(|takings| takings.revenue.cents).collect::<Vec<i64>>())
            .execute(begun(tx).await?)
            .await?;
        Ok(())
    }

    async fn remember_vip(tx: &mut Tx<Self>, order: Order) -> Result<(), Failure> {
        sqlx::query("INSERT INTO shop.vip (order_id, user_id, cents) VALUES ($1, $2, $3)")
            .bind(order.order_id)
            .bind(order.user_id)
            .bind(order.total.cents)
            .execute(begun(tx).await?)
            .await?;
        Ok(())
    }
}

/// The handler's transaction, once the server is there: an order is not given up because the tables are
/// away for a while.
async fn begun(tx: &mut PostgresTx) -> Result<&mut PgConnection, Failure> {
    let deadline = Instant::now() + LIMIT;
    // What is borrowed for an answer is borrowed for an error, too: so it is asked for once more.
    while let Err(error) = tx.connection().await {
        if !error.is_transient() || Instant::now() >= deadline {
            return Err(error.into());
        }
        tracing::warn!(%error, "the database is away: trying again");
        tokio::time::sleep(PAUSE).await;
    }
    Ok(tx.connection().await?)
}
