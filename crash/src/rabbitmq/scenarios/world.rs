//! What a scenario is given, and which there are.

use super::{
    alarm, broker_kills, closing, consumer_kills, delays, deletion, leader, network, poison,
};
use crate::rabbitmq::broker::{Broker, Vhost};
use crate::rabbitmq::cluster::Members;
use crate::rabbitmq::course::{Count, HANDLED_WITHIN};
use crate::rabbitmq::planted::Bug;
use crate::servers::Record;
use clap::ValueEnum;
use std::path::PathBuf;
use std::time::Duration;

/// After so long a message that a planted bug has lost is missed.
const FOUND_WITHIN: Duration = Duration::from_secs(20);

/// Which scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// The broker is killed under load and started again
    Broker,
    /// … while most messages are delayed, or wait for another run
    Delays,
    /// Connections are cut, refused, stalled, and lost without a word
    Network,
    /// The queue is deleted while it is consumed from
    Deletion,
    /// The broker runs out of memory, and takes nothing for a while
    Alarm,
    /// In a cluster of three, the member that leads the queue is killed
    Leader,
    /// Consumers are killed with messages that they have not settled
    Consumers,
    /// One message kills whoever handles it, among many that are taken ahead
    Poison,
    /// The bus is closed while there is no broker
    Closing,
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
    pub(crate) broker: Option<Broker>,
    pub(crate) cluster: Option<Members>,
    /// Empty.
    pub(crate) folder: PathBuf,
    pub(crate) seed: u64,
    pub(crate) size: Size,
    /// What the broker's driver does wrong, in those scenarios that are to find it.
    pub(crate) plant: Option<Bug>,
}

impl Scenario {
    /// Whether it needs a cluster, and no single broker.
    pub(crate) fn is_of_cluster(self) -> bool {
        self == Self::Leader
    }

    /// Runs it. What it tells is what it has counted.
    pub(crate) async fn run(self, world: &World) -> Result<String, String> {
        match self {
            Self::Broker => broker_kills::run(world).await,
            Self::Delays => delays::run(world).await,
            Self::Network => network::run(world).await,
            Self::Deletion => deletion::run(world).await,
            Self::Alarm => alarm::run(world).await,
            Self::Leader => leader::run(world).await,
            Self::Consumers => consumer_kills::run(world).await,
            Self::Poison => poison::run(world).await,
            Self::Closing => closing::run(world).await,
        }
    }
}

impl World {
    pub(crate) fn broker(&self) -> Result<&Broker, String> {
        self.broker.as_ref().ok_or_else(|| "there is no broker of one node".to_owned())
    }

    /// A vhost of this scenario alone, which is removed with the next one of this name.
    pub(crate) fn vhost(&self, name: &str) -> Result<Vhost, String> {
        self.broker()?.vhost(&format!("{name}-{}", self.seed))
    }

    /// A record without anything in it.
    pub(crate) fn record(&self) -> Record {
        Record::new(&self.folder)
    }

    pub(crate) fn count(&self, vhost: &Vhost, endpoints: &[&'static str]) -> Count {
        Count {
            record: self.record(),
            endpoints: endpoints.to_vec(),
            vhost: Some(vhost.clone()),
            deleted: Default::default(),
            // What is planted is not to be waited for; where nothing is, all is handled in a tenth of it.
            patience: if self.plant.is_some() { FOUND_WITHIN } else { HANDLED_WITHIN },
        }
    }

    /// So much if all is done, or less in the tests.
    pub(crate) fn sized<T>(&self, short: T, whole: T) -> T {
        match self.size {
            Size::Short => short,
            Size::Whole => whole,
        }
    }
}
