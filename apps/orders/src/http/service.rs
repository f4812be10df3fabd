//! What requests are answered with.

use crate::clock::SharedClock;
use crate::database::{Database, OrderBook};
use tramline::Bus;

/// The parts of the service that requests reach.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) bus: Bus,
    pub(crate) database: Database,
    pub(crate) orders: OrderBook,
    pub(crate) clock: SharedClock,
}
