//! What handlers write. Each function queues its statements on the handler's transaction.

use crate::database::Takings;
use crate::messages::{OrderEvent, OrderPaid};
use crate::order::Order;
use std::collections::BTreeMap;
use std::sync::Arc;
use tramline::core::clock::Clock;
use tramline::sqlite::rusqlite::params;
use tramline::{Attempt, Failure, Sqlite, Tx};

/// Enters that `order` was charged, and publishes that it is paid.
pub(crate) fn enter_charge(tx: &Tx<Sqlite>, order: Order, attempt: Attempt) -> Result<(), Failure> {
    tx.write(move |db| {
        db.execute(
            "INSERT INTO ledger (order_id, cents, attempt) VALUES (?1, ?2, ?3)",
            params![order.order_id, order.total.cents, attempt.0],
        )?;
        db.publish(OrderPaid(order).draft())
    })
}

/// Takes `units` from the stock.
pub(crate) fn take_from_stock(tx: &Tx<Sqlite>, units: i64) -> Result<(), Failure> {
    // One row for all: this database has one writer at a time in any case.
    tx.write(move |db| {
        db.execute("UPDATE stock SET units_left = units_left - ?1 WHERE item = 'cd'", [units])?;
        Ok(())
    })
}

/// Puts a mail into the outgoing tray, with the time at which it got there.
pub(crate) fn send_mail(
    tx: &Tx<Sqlite>,
    order_id: i64,
    text: String,
    clock: Arc<dyn Clock>,
) -> Result<(), Failure> {
    tx.write(move |db| {
        db.execute(
            "INSERT INTO mail (order_id, text, written_at) VALUES (?1, ?2, ?3)",
            params![order_id, text, clock.now().as_micros()],
        )?;
        Ok(())
    })
}

/// Adds takings to those of their months.
pub(crate) fn add_to_months(
    tx: &Tx<Sqlite>,
    months: BTreeMap<String, Takings>,
) -> Result<(), Failure> {
    tx.write(move |db| {
        for (month, takings) in &months {
            db.execute(
                "INSERT INTO takings (month, orders, cents) VALUES (?1, ?2, ?3)
                 ON CONFLICT (month) DO UPDATE
                 SET orders = orders + excluded.orders, cents = cents + excluded.cents",
                params![month, takings.orders, takings.revenue.cents],
            )?;
        }
        Ok(())
    })
}

/// Remembers who placed `order`.
pub(crate) fn remember_vip(tx: &Tx<Sqlite>, order: Order) -> Result<(), Failure> {
    tx.write(move |db| {
        db.execute(
            "INSERT INTO vip (order_id, user_id, cents) VALUES (?1, ?2, ?3)",
            params![order.order_id, order.user_id, order.total.cents],
        )?;
        Ok(())
    })
}
