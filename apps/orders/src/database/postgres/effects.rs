//! What handlers write.

use crate::clock::SharedClock;
use crate::database::{Tables, Takings};
use crate::messages::{OrderEvent, OrderPaid};
use crate::order::Order;
use std::collections::BTreeMap;
use tramline::postgres::sqlx;
use tramline::{Attempt, Failure, Postgres, Tx};

impl Tables for Postgres {
    async fn enter_charge(
        tx: &mut Tx<Self>,
        order: Order,
        attempt: Attempt,
    ) -> Result<(), Failure> {
        sqlx::query("INSERT INTO shop.ledger (order_id, cents, attempt) VALUES ($1, $2, $3)")
            .bind(order.order_id)
            .bind(order.total.cents)
            .bind(i64::from(attempt.0))
            .execute(tx.connection().await?)
            .await?;
        tx.publish(OrderPaid(order).draft())
    }

    async fn take_from_stock(tx: &mut Tx<Self>, units: i64) -> Result<(), Failure> {
        sqlx::query("INSERT INTO shop.picked (item, units) VALUES ('cd', $1)")
            .bind(units)
            .execute(tx.connection().await?)
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
            .execute(tx.connection().await?)
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
            .execute(tx.connection().await?)
            .await?;
        Ok(())
    }

    async fn remember_vip(tx: &mut Tx<Self>, order: Order) -> Result<(), Failure> {
        sqlx::query("INSERT INTO shop.vip (order_id, user_id, cents) VALUES ($1, $2, $3)")
            .bind(order.order_id)
            .bind(order.user_id)
            .bind(order.total.cents)
            .execute(tx.connection().await?)
            .await?;
        Ok(())
    }
}
