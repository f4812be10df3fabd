//! The endpoints together, and what recurs.

use super::{analytics, email, inventory, nightly, payment, reminder, vip};
use crate::database::Tables;
use crate::messages::WriteReport;
use tramline::core::transport::Transport;
use tramline::{BusBuilder, Endpoint, Result};

/// Every endpoint, with the tables in the store `S`.
pub(crate) fn all<S: Tables>() -> [Endpoint; 7] {
    [
        payment::endpoint::<S>(),
        inventory::endpoint::<S>(),
        vip::endpoint::<S>(),
        email::endpoint::<S>(),
        analytics::endpoint::<S>(),
        reminder::endpoint::<S>(),
        nightly::endpoint::<S>(),
    ]
}

/// Has `bus` do what recurs.
pub(crate) fn recurring<T: Transport>(bus: BusBuilder<T>) -> Result<BusBuilder<T>> {
    Ok(bus.recurring("nightly-report", nightly::recurring()?, WriteReport))
}
