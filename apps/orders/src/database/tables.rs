//! What handlers write, whichever database it is in.

use super::Takings;
use crate::clock::SharedClock;
use crate::order::Order;
use std::collections::BTreeMap;
use tramline::core::store::Store;
use tramline::{Attempt, Failure, Tx};

/// A store with the business tables. Each function writes on the handler's transaction.
pub(crate) trait Tables: Store + Clone + Sized {
    /// Enters that `order` was charged, and publishes that it is paid.
    fn enter_charge(tx: &mut Tx<Self>, order: Order, attempt: Attempt) -> Result<(), Failure>;

    /// Takes `units` from the stock.
    fn take_from_stock(tx: &mut Tx<Self>, units: i64) -> Result<(), Failure>;

    /// Puts a mail into the outgoing tray, with the time at which it got there.
    fn send_mail(
        tx: &mut Tx<Self>,
        order_id: i64,
        text: String,
        clock: SharedClock,
    ) -> Result<(), Failure>;

    /// Puts a reminder into the outgoing tray, beside the mails.
    fn send_reminder(tx: &mut Tx<Self>, order_id: i64, text: String) -> Result<(), Failure>;

    /// Writes down what was charged so far.
    fn write_report(tx: &mut Tx<Self>) -> Result<(), Failure>;

    /// Adds takings to those of their months.
    fn add_to_months(tx: &mut Tx<Self>, months: BTreeMap<String, Takings>) -> Result<(), Failure>;

    /// Remembers who placed `order`.
    fn remember_vip(tx: &mut Tx<Self>, order: Order) -> Result<(), Failure>;
}
