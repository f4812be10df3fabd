//! Orders are placed: the row and the event in one transaction.

use super::database::{Database, order};
use crate::database::Placed;
use crate::messages::{OrderEvent, OrderPlaced};
use crate::order::Order;
use tramline::core::clock::Timestamp;
use tramline::sqlite::rusqlite::params;
use tramline::sqlite::{Db, SqliteWriter};
use tramline::{Bus, Failure, MessageId};

/// Joins the commits of everybody who places an order at the same time.
#[derive(Clone)]
pub(crate) struct OrderBook {
    writer: SqliteWriter,
}

impl OrderBook {
    pub(crate) fn new(bus: &Bus, database: &Database) -> Self {
        Self { writer: bus.store(&database.sqlite) }
    }

    pub(crate) async fn place(
        &self,
        order: Order,
        event_id: MessageId,
        received_at: Timestamp,
    ) -> Result<Placed, Failure> {
        self.writer.write(move |db| place(db, order, &event_id, received_at)).await
    }
}

fn place(
    db: &Db<'_>,
    placed: Order,
    event_id: &MessageId,
    received_at: Timestamp,
) -> Result<Placed, Failure> {
    let known = db.query_optional(
        "SELECT order_id, user_id, date, units, cents FROM orders WHERE order_id = ?1",
        [placed.order_id],
        order,
    )?;
    if let Some(known) = known {
        return Ok(if known == placed { Placed::Again } else { Placed::Differs });
    }
    let Order { order_id, user_id, date, units, total } = placed;
    db.execute(
        "INSERT INTO orders (order_id, user_id, date, units, cents, event_id, received_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            order_id,
            user_id,
            date.to_string(),
            units,
            total.cents,
            event_id.to_string(),
            received_at.as_micros()
        ],
    )?;
    db.publish(OrderPlaced(placed).draft().id(event_id.clone()))?;
    Ok(Placed::New)
}
