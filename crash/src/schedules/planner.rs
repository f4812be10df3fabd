//! A process that schedules, cancels and fires, until it is told that it is enough.

use super::ground::Ground;
use super::notes::{Notes, life};
use super::pauses::pause_again_and_again;
use super::service;
use super::stories::Teller;
use crate::dice::Dice;
use crate::servers::{DRAIN_LIMIT, Place, Process, Record};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tramline::{Bus, Failure};

/// The processes are told by a file of this name to begin nothing more.
const ENOUGH: &str = "enough";
/// Who pauses, which only one may do at a time.
const PAUSES: u64 = 0;
/// How long whoever meets a server that is away waits before he tries again.
const PAUSE: Duration = Duration::from_millis(50);

/// What the process is told.
#[derive(clap::Args)]
pub(crate) struct Planner {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The file or the database
    at: String,
    index: u64,
    seed: u64,
    /// The server goes away in between, and nobody is to die of that
    #[arg(long)]
    patient: bool,
}

/// What all that the process does has at hand.
pub(super) struct Act<'a> {
    pub(super) bus: &'a Bus,
    pub(super) folder: PathBuf,
    patient: bool,
}

impl Planner {
    pub(crate) async fn run<G: Ground>(&self) -> Result<(), String> {
        self.acted::<G>().await.map_err(|failure| failure.to_string())
    }

    async fn acted<G: Ground>(&self) -> Result<(), Failure> {
        let record = self.place.record();
        let life = life(record.folder(), &self.place.name)?;
        let bus = &self.start::<G>().await?;
        let act = &Act { bus, folder: record.folder().to_owned(), patient: self.patient };
        let notes = || Notes::open(record.folder(), &self.place.name);
        let mut dice = Dice::new(self.seed + 1000 * self.index + life);
        let mut pauses = Dice::new(dice.throw());
        let first = (self.index * 10_000 + life) * 100_000;
        let mut teller = Teller::new(act, notes()?, dice, first);
        let pausing = async {
            match self.index {
                PAUSES => pause_again_and_again(act, &mut notes()?, &mut pauses).await,
                _ => Ok(()),
            }
        };
        tokio::select! {
            acted = async { tokio::try_join!(teller.tell(), pausing) } => acted.map(drop)?,
            ended = bus.run(DRAIN_LIMIT) => return ended.map(drop).map_err(Failure::permanent),
        }
        std::fs::write(through(record.folder(), self.index), "")?;
        bus.run(DRAIN_LIMIT).await.map(drop).map_err(Failure::permanent)
    }

    async fn start<G: Ground>(&self) -> Result<Bus, Failure> {
        loop {
            let started = async {
                let ground = G::open(&self.at).await.map_err(Failure::permanent)?;
                service::recurring(&ground).start().await.map_err(Failure::permanent)
            };
            match started.await {
                Err(_) if self.patient => tokio::time::sleep(PAUSE).await,
                started => return started,
            }
        }
    }
}

impl Act<'_> {
    pub(super) fn is_enough(&self) -> bool {
        self.folder.join(ENOUGH).exists()
    }

    /// What was answered, or `None` where the server may have been away: then it may have happened or not.
    pub(super) async fn heard<T>(&self, answer: tramline::Result<T>) -> Result<Option<T>, Failure> {
        match answer {
            Err(_) if self.patient => {
                tokio::time::sleep(PAUSE).await;
                Ok(None)
            }
            answer => answer.map(Some).map_err(Failure::permanent),
        }
    }
}

/// Tells all processes to begin nothing more.
pub(super) fn enough(folder: &Path) -> std::io::Result<()> {
    std::fs::write(folder.join(ENOUGH), "")
}

/// Whether so many processes have ended what they had begun. They go on firing and handling.
pub(super) fn are_through(folder: &Path, processes: u64) -> bool {
    (0..processes).all(|index| through(folder, index).exists())
}

fn through(folder: &Path, index: u64) -> PathBuf {
    folder.join(format!("through-{index}"))
}

/// A process on the database at `at`.
pub(super) fn process<G: Ground>(
    record: &Record,
    at: &str,
    index: u64,
    seed: u64,
    is_patient: bool,
) -> Process {
    let mut arguments = [G::SUBJECT, "plan", at].map(str::to_owned).to_vec();
    arguments.extend([index.to_string(), seed.to_string()]);
    arguments.extend(is_patient.then(|| "--patient".to_owned()));
    Process::new(record, &format!("planner-{index}"), arguments)
}
