//! What handlers write, whichever database it is in.

use super::Takings;
use crate::clock::SharedClock;
use crate::order::Order;
use std::collections::BTreeMap;
use tramline::core::store::Store;
use tramline::{Attempt, Failure, Tx};

/// A store with the business tables. Each function writes on the handler's transaction.
pub(crate) trait Tables: Store + Clone + Sized {
    /// How many handlers of an endpoint are worth running at once.
    const CONCURRENCY: usize;

    /// Enters that `order` was charged, and publishes that it is paid.
    fn enter_charge(
        tx: &mut Tx<Self>,
        order: Order,
        attempt: Attempt,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Takes `units` from the stock.
    fn take_from_stock(
        tx: &mut Tx<Self>,
        units: i64,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Puts a mail into the outgoing tray, with the time at which it got there.
    fn send_mail(
        tx: &mut Tx<Self>,
        order_id: i64,
        text: String,
        clock: SharedClock,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Adds takings to those of their months.
    fn add_to_months(
        tx: &mut Tx<Self>,
        months: BTreeMap<String, Takings>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Remembers who placed `order`.
    fn remember_vip(
        tx: &mut Tx<Self>,
        order: Order,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}
