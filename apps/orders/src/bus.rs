//! The bus, put together: the same parts in every process, endpoints where they run.

use crate::clock::SharedClock;
use crate::database::Database;
use crate::endpoints;
use crate::gateway::Gateway;
use crate::messages::OrderPlaced;
use std::time::Duration;
use tramline::core::erased::DynTransport;
use tramline::{Bus, BusBuilder, Result};

/// What a process does on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Publishes, and leaves the handling to others.
    Publisher,
    /// Runs the endpoints, and whatever else there is to do.
    Handler,
}

/// For how long is remembered what was handled, where messages come from outside the database: as
/// long as the orders themselves, because a bus in memory is filled again from them.
const INBOX_RETENTION: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Connects to `broker`. The bus that comes of it has everything but its start.
pub(crate) async fn connect(
    broker: &str,
    database: &Database,
    clock: SharedClock,
    role: Role,
) -> Result<BusBuilder<Box<dyn DynTransport>>> {
    let mut builder = Bus::connect(broker)
        .await?
        .store(database.store().clone())
        .inbox_retention(INBOX_RETENTION)
        .publishes::<OrderPlaced>()
        .state(clock)
        .state(Gateway);
    if role == Role::Handler {
        for endpoint in endpoints::all() {
            builder = builder.endpoint(endpoint);
        }
    }
    Ok(builder)
}
