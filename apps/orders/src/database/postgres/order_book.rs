//! Orders are placed: the row and the event in one transaction.

use super::database::{Database, order};
use crate::database::Placed;
use crate::messages::{OrderEvent, OrderPlaced};
use crate::order::Order;
use tramline::core::clock::Timestamp;
use tramline::postgres::PostgresWriter;
use tramline::postgres::sqlx;
use tramline::{Bus, Failure, MessageId};

/// Each order is a transaction; the server commits many at once.
#[derive(Clone)]
pub(crate) struct OrderBook {
    writer: PostgresWriter,
}

impl OrderBook {
    pub(crate) fn new(bus: &Bus, database: &Database) -> Self {
        Self { writer: bus.store(&database.postgres) }
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
        let mut tx = self.writer.begin();
        let is_new = sqlx::query(PLACE)
            .bind(placed.order_id)
            .bind(placed.user_id)
            .bind(placed.date.to_string())
            .bind(placed.units)
            .bind(placed.total.cents)
            .bind(event_id.to_string())
            .bind(received_at.as_micros())
            .execute(tx.connection().await?)
            .await?
            .rows_affected()
            > 0;
        if !is_new {
            let known = sqlx::query(KNOWN).bind(placed.order_id).fetch_one(tx.connection().await?);
            let known = order(&known.await?)?;
            return Ok(if known == placed { Placed::Again } else { Placed::Differs });
        }
        tx.publish(OrderPlaced(placed).draft().id(event_id))?;
        self.writer.commit(tx).await?;
        Ok(Placed::New)
    }
}
