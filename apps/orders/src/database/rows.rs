//! What the tables are asked for.

use crate::money::Money;
use crate::order::Order;
use tramline::core::clock::Timestamp;
use tramline::{MessageId, postgres, sqlite};

/// What became of an order that somebody placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// It is in, and so is the event that says so.
    New,
    /// It was in before.
    Again,
    /// Another order has its id.
    Differs,
}

/// An order that was placed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KnownOrder {
    pub(crate) order: Order,
    /// The event that told of it; its dead letter has the same id.
    pub(crate) event_id: MessageId,
    pub(crate) is_paid: bool,
}

/// What one month brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Takings {
    pub(crate) orders: i64,
    pub(crate) revenue: Money,
}

/// What is still to come of the orders that were placed, by the tables alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) charges: u64,
    pub(crate) units: u64,
    pub(crate) vips: u64,
    pub(crate) mails: u64,
    /// Paid orders that no month's takings hold yet.
    pub(crate) counts: u64,
    /// Orders that payment must reject; the tables do not know which of them it has.
    pub(crate) rejected: u64,
    /// Orders that nothing more happens to.
    pub(crate) mailed: u64,
}

/// What all orders together have left in the tables.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Effects {
    pub(crate) orders: u64,
    pub(crate) charges: u64,
    /// Orders with at least one charge: fewer than charges if any was charged twice.
    pub(crate) orders_charged: u64,
    pub(crate) revenue: Money,
    /// Runs of payment that failed before the charge.
    pub(crate) failed_attempts: u64,
    pub(crate) units_taken: u64,
    pub(crate) mails: u64,
    pub(crate) counted_orders: u64,
    pub(crate) counted_revenue: Money,
    pub(crate) vips: u64,
    /// Workers and brokers that were killed.
    pub(crate) kills: u64,
    pub(crate) broker_kills: u64,
    /// How long all runs took together.
    pub(crate) run_micros: u64,
    /// For each mail, how long after its order it was written; shortest first.
    pub(crate) latencies_micros: Vec<u64>,
}

/// What databases count about deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Deliveries that were taken back from processes that died.
    pub(crate) redelivered: u64,
    /// Messages that an inbox knew already.
    pub(crate) duplicates: u64,
}

impl From<sqlite::Tally> for Tally {
    fn from(tally: sqlite::Tally) -> Self {
        Self { redelivered: tally.redelivered, duplicates: tally.duplicates }
    }
}

impl From<postgres::Tally> for Tally {
    fn from(tally: postgres::Tally) -> Self {
        Self { redelivered: tally.redelivered, duplicates: tally.duplicates }
    }
}

/// One worker, or the broker, that was killed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KillRecord {
    pub(crate) run: i64,
    pub(crate) killed_at: Timestamp,
    pub(crate) worker: i64,
    pub(crate) process: u32,
}

impl KillRecord {
    /// The broker, where a worker's number stands.
    pub(crate) const BROKER: i64 = -1;
}
