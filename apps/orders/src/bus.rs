//! The bus, put together: the same parts in every process, endpoints where they run.

use crate::accepted::accepted;
use crate::clock::SharedClock;
use crate::database::{Database, Opened, Stock, Tables};
use crate::endpoints;
use crate::gateway::Gateway;
use crate::messages::OrderPlaced;
use std::time::Duration;
use tramline::core::erased::DynTransport;
use tramline::{Bus, BusBuilder, Failure};

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

type Builder = BusBuilder<Box<dyn DynTransport>>;

/// Connects to `broker`. The bus that comes of it has everything but its start.
pub(crate) async fn connect(
    broker: &str,
    database: &Database,
    clock: SharedClock,
    role: Role,
) -> Result<Builder, Failure> {
    let builder = Bus::connect(broker)
        .await?
        .inbox_retention(INBOX_RETENTION)
        .publishes::<OrderPlaced>()
        .event(accepted())
        .state(clock)
        .state(Gateway);
    let builder = match role {
        Role::Publisher => builder,
        Role::Handler => {
            let stock = Stock::watch(database.clone()).await?;
            builder.state(endpoints::stock_desk(stock)?)
        }
    };
    match database.opened() {
        Opened::Sqlite(tables) => with_tables(builder, tables.store(), role),
        Opened::Postgres(tables) => with_tables(builder, tables.store(), role),
    }
}

fn with_tables<S: Tables>(builder: Builder, store: &S, role: Role) -> Result<Builder, Failure> {
    let builder = builder.store(store.clone()).schedules(store);
    match role {
        Role::Publisher => Ok(builder),
        Role::Handler => {
            let builder = endpoints::recurring(builder)?;
            Ok(endpoints::all::<S>().into_iter().fold(builder, BusBuilder::endpoint))
        }
    }
}
