//! Processes that handle, relay and write until they are killed or told to end.

use super::command::SUBJECT;
use super::relay::Relay;
use super::service::Service;
use crate::schedules::Planner;
use crate::servers::{DRAIN_LIMIT, Place, Process, Record};
use tramline::Postgres;

/// What this program is when the driver starts it.
#[derive(clap::Subcommand)]
pub(crate) enum Role {
    #[command(hide = true)]
    Consume(Consumer),
    #[command(hide = true)]
    Relay(Relay),
    #[command(hide = true)]
    Plan(Planner),
}

impl Role {
    pub(crate) async fn play(&self) -> Result<(), String> {
        match self {
            Self::Consume(consumer) => consumer.run().await,
            Self::Relay(relay) => relay.run().await,
            Self::Plan(planner) => planner.run::<Postgres>().await,
        }
    }

    pub(crate) fn place(&self) -> &Place {
        match self {
            Self::Consume(consumer) => &consumer.place,
            Self::Relay(relay) => &relay.place,
            Self::Plan(planner) => &planner.place,
        }
    }
}

/// The service as a process of its own.
#[derive(clap::Args)]
pub(crate) struct Consumer {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    service: Service,
}

impl Consumer {
    async fn run(&self) -> Result<(), String> {
        let bus = self.service.start(&self.place.record(), &self.place.name).await?;
        bus.run(DRAIN_LIMIT).await.map(|_| ()).map_err(|error| error.to_string())
    }
}

/// A process that handles as `service` says.
pub(crate) fn consumer(record: &Record, name: &str, service: &Service) -> Process {
    let Service { url, endpoints, millis, prefetch, lease, plant } = service;
    let mut arguments = vec![SUBJECT.to_owned(), "consume".to_owned(), url.clone()];
    arguments.extend(["--endpoints".to_owned(), endpoints.join(",")]);
    let numbers = [("millis", *millis), ("prefetch", (*prefetch).into()), ("lease", *lease)];
    let numbers = numbers.map(|(name, number)| [format!("--{name}"), number.to_string()]);
    arguments.extend(numbers.into_iter().flatten());
    arguments.extend(plant.iter().flat_map(|bug| ["--plant".to_owned(), bug.name()]));
    Process::new(record, name, arguments)
}
