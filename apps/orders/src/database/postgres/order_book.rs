//! Orders are placed: the row, and what its acceptance brings about, in one transaction.

use super::database::{Database, order};
use crate::accepted::OrderAccepted;
use crate::database::Placed;
use crate::order::Order;
use tramline::core::clock::Timestamp;
use tramline::postgres::sqlx;
use tramline::{Bus, Failure, MessageId, Postgres};

/// Each order is a transaction; the server commits many at once.
#[derive(Clone)]
pub(crate) struct OrderBook {
    bus: Bus,
    postgres: Postgres,
}

impl OrderBook {
    pub(crate) fn new(bus: &Bus, database: &Database) -> Self {
        Self { bus: bus.clone(), postgres: database.postgres.clone() }
    }

    pub(crate) async fn place(
        &self,
        placed: Order,
        event_id: MessageId,
        received_at: Timestamp,
    ) -> Result<Placed, Failure> {
        const PLACE: &str = "INSERT INTO shop.orders VALUES ($1, $2, $3::date, $4, $5, $6, $7)
            ON CONFLICT DO NOTHING";
        const KNOWN: &str = "SELECT order_id, user_id, date::text, units, cents FROM shop.orders
            WHERE order_id = $1";
        let mut work = self.bus.begin(&self.postgres).await?;
        let is_new = sqlx::query(PLACE)
            .bind(placed.order_id)
            .bind(placed.user_id)
            .bind(placed.date.to_string())
            .bind(placed.units)
            .bind(placed.total.cents)
            .bind(event_id.to_string())
            .bind(received_at.as_micros())
            .execute(work.connection().await?)
            .await?
            .rows_affected()
            > 0;
        if !is_new {
            let known =
                sqlx::query(KNOWN).bind(placed.order_id).fetch_one(work.connection().await?);
            let known = order(&known.await?)?;
            return Ok(if known == placed { Placed::Again } else { Placed::Differs });
        }
        let accepted = OrderAccepted { order: placed, event_id };
        self.bus.events().publish_in(&mut work, &accepted).await?;
        work.commit().await?;
        Ok(Placed::New)
    }
}
