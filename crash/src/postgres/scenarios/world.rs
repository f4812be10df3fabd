//! What a scenario is given, and which there are.

use super::{consumers, failover, order, poison, relays, schedules, sessions, stops};
use crate::postgres::course::Count;
use crate::postgres::database::Database;
use crate::postgres::planted::{Bug, plant};
use crate::postgres::server::Server;
use crate::servers::Record;
use clap::ValueEnum;
use std::path::PathBuf;
use std::time::Duration;

/// How long everything that was confirmed may take to be handled.
const HANDLED_WITHIN: Duration = Duration::from_secs(180);
/// After so long what a planted bug keeps from happening is missed.
const FOUND_WITHIN: Duration = Duration::from_secs(8);

/// Which scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Relays to RabbitMQ are killed while others write business rows and events
    Relays,
    /// Consumers are killed with messages that they have not settled
    Consumers,
    /// … from a queue that keeps the order of keys
    Order,
    /// One message kills whoever handles it, among many that are taken ahead
    Poison,
    /// The server is killed under load, stopped at once, and stopped in order
    Stops,
    /// Processes that schedule, cancel and fire are killed, and the server with them
    Schedules,
    /// Connections are ended by the server, all the time
    Sessions,
    /// The server is away, then refuses to write, and then is well
    Failover,
}

/// How long a scenario may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// Some seconds, for the tests.
    Short,
    Whole,
}

/// What a scenario is given.
pub(crate) struct World {
    pub(crate) server: Server,
    /// Empty.
    pub(crate) folder: PathBuf,
    pub(crate) seed: u64,
    pub(crate) size: Size,
    /// What is wrong, and is to be found.
    pub(crate) plant: Option<Bug>,
}

impl Scenario {
    /// Runs it. What it tells is what it has counted.
    pub(crate) async fn run(self, world: &World) -> Result<String, String> {
        match self {
            Self::Relays => relays::run(world).await,
            Self::Consumers => consumers::run(world).await,
            Self::Order => order::run(world).await,
            Self::Poison => poison::run(world).await,
            Self::Stops => stops::run(world).await,
            Self::Schedules => schedules::run(world).await,
            Self::Sessions => sessions::run(world).await,
            Self::Failover => failover::run(world).await,
        }
    }
}

impl World {
    /// A database of this scenario alone, with what is planted in it.
    pub(crate) async fn database(&self, name: &str) -> Result<Database, String> {
        let database = self.server.database(&format!("{name}_{}", self.seed)).await?;
        plant(&database, self.plant).await?;
        Ok(database)
    }

    /// A record without anything in it.
    pub(crate) fn record(&self) -> Record {
        Record::new(&self.folder)
    }

    pub(crate) fn count(&self, database: &Database, endpoints: &[&'static str]) -> Count {
        let (record, endpoints) = (self.record(), endpoints.to_vec());
        Count { record, database: database.clone(), endpoints, patience: HANDLED_WITHIN }
    }

    /// How long is waited for what would be over soon, if nothing were planted.
    pub(crate) fn patience(&self) -> Duration {
        if self.plant.is_some() { FOUND_WITHIN } else { HANDLED_WITHIN }
    }

    /// So much if all is done, or less in the tests.
    pub(crate) fn sized<T>(&self, short: T, whole: T) -> T {
        match self.size {
            Size::Short => short,
            Size::Whole => whole,
        }
    }
}
