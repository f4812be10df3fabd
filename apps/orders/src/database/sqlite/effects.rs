//! What handlers write.

use crate::clock::SharedClock;
use crate::database::{Tables, Takings};
use crate::messages::{OrderEvent, OrderPaid};
use crate::order::Order;
use std::collections::BTreeMap;
use tramline::sqlite::rusqlite::params;
use tramline::{Attempt, Failure, Sqlite, Tx};

/// Each function queues its statements. Each handler waits for its commit, and many share one.
impl Tables for Sqlite {
    fn enter_charge(tx: &mut Tx<Self>, order: Order, attempt: Attempt) -> Result<(), Failure> {
        tx.write(move |db| {
            db.execute(
                "INSERT INTO ledger (order_id, cents, attempt) VALUES (?1, ?2, ?3)",
                params![order.order_id, order.total.cents, attempt.0],
            )?;
            db.publish(OrderPaid(order).draft())
        })
    }

    fn take_from_stock(tx: &mut Tx<Self>, units: i64) -> Result<(), Failure> {
        // One row for all: this database has one writer at a time in any case.
        tx.write(move |db| {
            db.execute("UPDATE stock SET units_left = units_left - ?1 WHERE item = 'cd'", [units])?;
            Ok(())
        })
    }

    fn send_mail(
        tx: &mut Tx<Self>,
        order_id: i64,
        text: String,
        clock: SharedClock,
    ) -> Result<(), Failure> {
        tx.write(move |db| {
            db.execute(
                "INSERT INTO mail (order_id, text, written_at) VALUES (?1, ?2, ?3)",
                params![order_id, text, clock.now().as_micros()],
            )?;
            Ok(())
        })
    }

    fn send_reminder(tx: &mut Tx<Self>, order_id: i64, text: String) -> Result<(), Failure> {
        tx.write(move |db| {
            let sql = "INSERT INTO reminder (order_id, text) VALUES (?1, ?2)";
            db.execute(sql, params![order_id, text])?;
            Ok(())
        })
    }

    fn write_report(tx: &mut Tx<Self>) -> Result<(), Failure> {
        tx.write(|db| {
            db.execute(
                "INSERT INTO report (orders, cents)
                 SELECT count(*), coalesce(sum(cents), 0) FROM ledger",
                [],
            )?;
            Ok(())
        })
    }

    fn add_to_months(tx: &mut Tx<Self>, months: BTreeMap<String, Takings>) -> Result<(), Failure> {
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

    fn remember_vip(tx: &mut Tx<Self>, order: Order) -> Result<(), Failure> {
        tx.write(move |db| {
            db.execute(
                "INSERT INTO vip (order_id, user_id, cents) VALUES (?1, ?2, ?3)",
                params![order.order_id, order.user_id, order.total.cents],
            )?;
            Ok(())
        })
    }
}
