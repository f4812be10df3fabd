//! Processes that handle messages until they are killed or told to end.

use super::command::SUBJECT;
use super::scenarios::Taster;
use super::service::Service;
use crate::servers::{DRAIN_LIMIT, Place, Process, Record};

/// What this program is when the driver starts it.
#[derive(clap::Subcommand)]
pub(crate) enum Role {
    #[command(hide = true)]
    Consume(Consumer),
    #[command(hide = true)]
    Taste(Taster),
}

impl Role {
    pub(crate) async fn play(&self) -> Result<(), String> {
        match self {
            Self::Consume(consumer) => consumer.run().await,
            Self::Taste(taster) => taster.run().await,
        }
    }

    pub(crate) fn place(&self) -> &Place {
        match self {
            Self::Consume(consumer) => &consumer.place,
            Self::Taste(taster) => &taster.place,
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
    let Service { url, endpoints, millis, prefetch, plant } = service;
    let mut arguments = vec![SUBJECT.to_owned(), "consume".to_owned(), url.clone()];
    arguments.extend(["--endpoints".to_owned(), endpoints.join(",")]);
    arguments.extend(["--millis".to_owned(), millis.to_string()]);
    arguments.extend(["--prefetch".to_owned(), prefetch.to_string()]);
    arguments.extend(plant.iter().flat_map(|bug| ["--plant".to_owned(), bug.name()]));
    Process::new(record, name, arguments)
}
