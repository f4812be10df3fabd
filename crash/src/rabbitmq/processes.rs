//! Processes that handle messages until they are killed or told to end.

use super::record::Record;
use super::scenarios::Taster;
use super::service::{DRAIN_LIMIT, Service};
use crate::child;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long one may take to end that is told to.
const END_WITHIN: Duration = Duration::from_secs(30);

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

/// What every process is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Place {
    /// Where the journals are
    #[arg(long)]
    pub(crate) folder: PathBuf,
    /// The process that starts them, and without which they end
    #[arg(long)]
    driver: u32,
    /// What tells its journals from those of others
    #[arg(long)]
    pub(crate) name: String,
}

impl Place {
    pub(crate) fn end_with_the_driver(&self) -> Result<(), String> {
        child::end_with(self.driver)
    }

    pub(crate) fn record(&self) -> Record {
        Record::new(&self.folder)
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

/// One process, in all of its lives.
pub(crate) struct Process {
    name: String,
    folder: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Process {
    /// One that handles as `service` says.
    pub(crate) fn consumer(record: &Record, name: &str, service: &Service) -> Self {
        let Service { url, endpoints, millis, prefetch, plant } = service;
        let mut arguments = vec!["consume".to_owned(), url.clone()];
        arguments.extend(["--endpoints".to_owned(), endpoints.join(",")]);
        arguments.extend(["--millis".to_owned(), millis.to_string()]);
        arguments.extend(["--prefetch".to_owned(), prefetch.to_string()]);
        arguments.extend(plant.iter().flat_map(|bug| ["--plant".to_owned(), bug.name()]));
        Self::new(record, name, arguments)
    }

    /// One that plays the role that `arguments` begin with.
    pub(crate) fn new(record: &Record, name: &str, arguments: Vec<String>) -> Self {
        let folder = record.folder().to_owned();
        Self { name: name.to_owned(), folder, arguments, child: None }
    }

    pub(crate) fn start(&mut self) -> Result<(), String> {
        let begun = || -> io::Result<Child> {
            let log = self.folder.join(format!("{}.log", self.name));
            let log = File::options().create(true).append(true).open(log)?;
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("rabbitmq").args(&self.arguments).arg("--folder").arg(&self.folder);
            command.args(["--driver", &std::process::id().to_string(), "--name", &self.name]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()
        };
        self.child =
            Some(begun().map_err(|error| format!("failed to start {}: {error}", self.name))?);
        Ok(())
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<(), String> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let killed = child.kill().and_then(|()| child.wait());
        killed.map(drop).map_err(|error| format!("failed to kill {}: {error}", self.name))
    }

    /// Whether it has ended by itself since it was started.
    pub(crate) fn has_died(&mut self) -> Result<bool, String> {
        let Some(child) = &mut self.child else { return Ok(true) };
        let ended = child.try_wait();
        let ended = ended.map_err(|error| format!("failed to look at {}: {error}", self.name))?;
        if ended.is_some() {
            self.child = None;
        }
        Ok(ended.is_some())
    }

    /// Tells it to end by SIGTERM; it must do so in order.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        match child::end(&mut child, END_WITHIN) {
            Ok(Some(status)) if status.success() => Ok(()),
            Ok(Some(status)) => Err(format!("{} was told to end: {status}", self.name)),
            Ok(None) => {
                self.child = Some(child);
                Err(format!("{} did not end within {END_WITHIN:?}", self.name))
            }
            Err(error) => Err(format!("failed to end {}: {error}", self.name)),
        }
    }
}

/// A driver that fails leaves nobody behind.
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
