//! What handlers write.

use crate::clock::SharedClock;
use crate::database::{Tables, Takings};
use crate::messages::{OrderEvent, OrderPaid};
use crate::order::Order;
use std::collections::BTreeMap;
use tramline::{Attempt, Failure, Postgres, Tx};

/// Each function queues its statements. Each handler waits for its commit, and many share one.
impl Tables for Postgres {
    fn enter_charge(tx: &mut Tx<Self>, order: Order, attempt: Attempt) -> Result<(), Failure> {
        tx.write(
            "INSERT INTO shop.ledger (order_id, cents, attempt) VALUES ($1, $2, $3)",
            (order.order_id, order.total.cents, i64::from(attempt.0)),
        )?;
        tx.publish(OrderPaid(order).draft())
    }

    fn take_from_stock(tx: &mut Tx<Self>, units: i64) -> Result<(), Failure> {
        tx.write("INSERT INTO shop.picked (item, units) VALUES ('cd', $1)", (units,))
    }

    fn send_mail(
        tx: &mut Tx<Self>,
        order_id: i64,
        text: String,
        clock: SharedClock,
    ) -> Result<(), Failure> {
        tx.write(
            "INSERT INTO shop.mail (order_id, text, written_at) VALUES ($1, $2, $3)",
            (order_id, text, clock.now().as_micros()),
        )
    }

    fn send_reminder(tx: &mut Tx<Self>, order_id: i64, text: String) -> Result<(), Failure> {
        let sql = "INSERT INTO shop.reminder (order_id, text) VALUES ($1, $2)";
        tx.write(sql, (order_id, text))
    }

    fn write_report(tx: &mut Tx<Self>) -> Result<(), Failure> {
        tx.write(
            "INSERT INTO shop.report (orders, cents)
             SELECT count(*), coalesce(sum(cents), 0) FROM shop.ledger",
            (),
        )
    }

    fn add_to_months(tx: &mut Tx<Self>, months: BTreeMap<String, Takings>) -> Result<(), Failure> {
        let orders: Vec<i64> = months.values().map(|takings| takings.orders).collect();
        let cents: Vec<i64> = months.values().map(|takings| takings.revenue.cents).collect();
        let months: Vec<String> = months.into_keys().collect();
        tx.write(
            "INSERT INTO shop.takings (month, orders, cents)
             SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])",
            (months, orders, cents),
        )
    }

    fn remember_vip(tx: &mut Tx<Self>, order: Order) -> Result<(), Failure> {
        tx.write(
            "INSERT INTO shop.vip (order_id, user_id, cents) VALUES ($1, $2, $3)",
            (order.order_id, order.user_id, order.total.cents),
        )
    }
}
