//! Orders are placed: the row, and what its acceptance brings about, in one transaction.

use super::database::{Database, order};
use crate::accepted::OrderAccepted;
use crate::database::Placed;
use crate::order::Order;
use std::fmt;
use tramline::core::clock::Timestamp;
use tramline::sqlite::Db;
use tramline::sqlite::rusqlite::params;
use tramline::{Bus, Failure, MessageId, Sqlite};

/// Who places an order joins the commit of all who do so at the same time.
#[derive(Clone)]
pub(crate) struct OrderBook {
    bus: Bus,
    sqlite: Sqlite,
}

impl OrderBook {
    pub(crate) fn new(bus: &Bus, database: &Database) -> Self {
        Self { bus: bus.clone(), sqlite: database.sqlite.clone() }
    }

    pub(crate) async fn place(
        &self,
        order: Order,
        event_id: MessageId,
        received_at: Timestamp,
    ) -> Result<Placed, Failure> {
        let accepted = OrderAccepted { order, event_id: event_id.clone() };
        let mut work = self.bus.begin(&self.sqlite).await?;
        work.write(move |db| enter(db, order, &event_id, received_at))?;
        self.bus.events().publish_in(&mut work, &accepted).await?;
        match work.commit().await {
            Ok(()) => Ok(Placed::New),
            Err(failure) => failure.find::<Known>().map(|known| known.0).ok_or(failure),
        }
    }
}

/// Why an order is not entered: one of its id is there. Nothing of the transaction is kept.
#[derive(Debug)]
struct Known(Placed);

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an order of this id is there")
    }
}

impl std::error::Error for Known {}

fn enter(
    db: &Db<'_>,
    placed: Order,
    event_id: &MessageId,
    received_at: Timestamp,
) -> Result<(), Failure> {
    let known = db.query_optional(
        "SELECT order_id, user_id, date, units, cents FROM orders WHERE order_id = ?1",
        [placed.order_id],
        order,
    )?;
    if let Some(known) = known {
        let known = if known == placed { Placed::Again } else { Placed::Differs };
        return Err(Failure::permanent(Known(known)));
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
    Ok(())
}
