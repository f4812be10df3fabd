//! A case: processes that share the schedules are killed and stopped, and then everything is counted.

use super::evidence::{Evidence, depth, overdue};
use super::ground::Ground;
use super::notes::{self, Note};
use super::planner::{are_through, enough, process};
use super::service::{self, FIRED, PAUSED, PLANNING, STEADY, TICKS};
use super::{judge, rhythm};
use crate::dice::Dice;
use crate::servers::{Process, Record, drain, list, until};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tramline::{Bus, Failure};

const PROCESSES: u64 = 3;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a case is given.
pub(crate) struct Course {
    /// Empty, for what the processes write down.
    pub(crate) folder: PathBuf,
    /// The file or the database, with a table of effects.
    pub(crate) at: String,
    pub(crate) seed: u64,
    pub(crate) kills: u64,
    /// The server goes away in between.
    pub(crate) is_patient: bool,
    /// How long everything may take to be done when nobody is disturbed any more.
    pub(crate) done_within: Duration,
}

/// What a case has seen.
pub(crate) struct Figures {
    kills: u64,
    stops: u64,
    fired: usize,
    cancelled: usize,
    late: usize,
    overtaken: usize,
    replaced: usize,
    planned: usize,
    ticks: usize,
    pauses: usize,
}

impl Course {
    /// Runs it; `disturb` is called in between, between two of the kills.
    pub(crate) async fn run<G: Ground>(
        &self,
        mut disturb: impl AsyncFnMut(u64) -> Result<(), String>,
    ) -> Result<Figures, String> {
        let told = |failure: Failure| failure.to_string();
        notes::prepare(&self.folder).map_err(|error| error.to_string())?;
        // Whatever fires from here on has somewhere to go.
        drain(&self.serve::<G>().await?).await?;
        let ground = G::open(&self.at).await.map_err(|error| error.to_string())?;
        let record = Record::new(&self.folder);
        let process = |index| process::<G>(&record, &self.at, index, self.seed, self.is_patient);
        let mut processes: Vec<Process> = (0..PROCESSES).map(process).collect();
        processes.iter_mut().try_for_each(Process::start)?;
        let mut dice = Dice::new(self.seed);
        let mut stops = 0;
        for kill in 0..self.kills {
            disturb(kill).await?;
            self.progress(2 + dice.below(12)).await?;
            stops += self.torment(&mut processes, &mut dice).await?;
        }
        enough(&self.folder).map_err(|error| error.to_string())?;
        self.wait_until_fired(&ground).await?;
        processes.iter_mut().try_for_each(Process::end)?;
        self.clear(&ground).await?;
        let evidence = Evidence::collect(&ground, &self.folder).await.map_err(told)?;
        let mut faults = judge::faults(&evidence.named);
        faults.extend(rhythm::faults(STEADY, &evidence.steady));
        faults.extend(rhythm::faults(PAUSED, &evidence.paused));
        if !faults.is_empty() {
            return Err(list(faults));
        }
        let figures = Figures::of(&evidence, self.kills, stops);
        figures.show_something().map(|()| figures)
    }

    /// A bus that nothing recurs on. It takes its connections with it when it ends.
    async fn serve<G: Ground>(&self) -> Result<Bus, String> {
        let ground = G::open(&self.at).await.map_err(|error| error.to_string())?;
        service::builder(&ground).start().await.map_err(|error| error.to_string())
    }

    /// Waits until so many more are scheduled.
    async fn progress(&self, more: u64) -> Result<(), String> {
        let count = || notes::count(&self.folder, Note::Scheduled).unwrap_or(0);
        let enough = count() + more;
        until(|| count() >= enough, || "nobody has scheduled anything".to_owned()).await
    }

    /// Stops some for a moment, and kills one. Answers how many were stopped.
    async fn torment(&self, processes: &mut [Process], dice: &mut Dice) -> Result<u64, String> {
        let stops = dice.below(3);
        for _ in 0..stops {
            tokio::time::sleep(dice.millis(10..80)).await;
            let stopped = &processes[dice.below(PROCESSES) as usize];
            stopped.stop()?;
            tokio::time::sleep(dice.millis(1..120)).await;
            stopped.go_on()?;
        }
        tokio::time::sleep(dice.millis(20..200)).await;
        let index = dice.below(PROCESSES) as usize;
        let killed = &mut processes[index];
        if killed.has_died()? {
            return Err(format!("planner {index} ended by itself"));
        }
        killed.kill()?;
        // For a moment only the others are there.
        tokio::time::sleep(dice.millis(0..100)).await;
        killed.start()?;
        Ok(stops)
    }

    /// Waits until the processes have fired what they have scheduled, all of it.
    async fn wait_until_fired<G: Ground>(&self, ground: &G) -> Result<(), String> {
        self.wait_until("something is due and waits", async || {
            let is_planned =
                are_through(&self.folder, PROCESSES) && depth(ground, PLANNING).await?.0 == 0;
            Ok(is_planned && overdue(ground).await?.is_empty())
        })
        .await
    }

    /// Handles what the processes have left in the queues.
    async fn clear<G: Ground>(&self, ground: &G) -> Result<(), String> {
        let bus = self.serve::<G>().await?;
        let cleared = self.wait_until("messages are in queues", async || {
            let (fired, _) = depth(ground, FIRED).await?;
            Ok(fired == 0 && depth(ground, TICKS).await?.0 == 0)
        });
        cleared.await?;
        drain(&bus).await
    }

    async fn wait_until(
        &self,
        otherwise: &str,
        is_so: impl AsyncFn() -> Result<bool, Failure>,
    ) -> Result<(), String> {
        let deadline = Instant::now() + self.done_within;
        loop {
            let answer = is_so().await;
            match answer {
                Ok(true) => return Ok(()),
                Err(_) if self.is_patient && Instant::now() < deadline => {}
                Err(failure) => return Err(failure.to_string()),
                Ok(false) if Instant::now() < deadline => {}
                Ok(false) => return Err(format!("after {:?} {otherwise}", self.done_within)),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Figures {
    fn of(Evidence { named, steady, paused }: &Evidence, kills: u64, stops: u64) -> Self {
        Self {
            kills,
            stops,
            fired: named.fired.len(),
            cancelled: named.cancelled.len(),
            late: named.late.len(),
            overtaken: named.never.len(),
            replaced: named.replaced_in_time.len(),
            planned: named.done.len(),
            ticks: steady.moments.len() + paused.moments.len(),
            pauses: paused.silent.len(),
        }
    }

    /// A case in which little has happened shows nothing.
    fn show_something(&self) -> Result<(), String> {
        let kills = self.kills as usize;
        let counts = [
            ("fired", self.fired, 6 * kills),
            ("cancelled", self.cancelled, kills / 2),
            ("cancelled too late", self.late, kills / 2),
            ("never to fire", self.overtaken, kills),
            ("replaced in time", self.replaced, kills),
            ("planned by handlers", self.planned, kills),
            ("ticks", self.ticks, 8 * kills),
            ("pauses", self.pauses, kills / 12),
            ("stops", self.stops as usize, kills / 4),
        ];
        let few = counts.into_iter().filter(|(_, count, least)| count < least);
        let few: Vec<String> = few
            .map(|(what, count, least)| format!("{count} {what} show nothing, at least {least} do"))
            .collect();
        if few.is_empty() { Ok(()) } else { Err(list(few)) }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, stops, fired, cancelled, late, replaced, planned, ticks, pauses, .. } =
            self;
        write!(
            f,
            "{kills} kills, {stops} stops, {fired} fired, {cancelled} cancelled, {late} too late"
        )?;
        write!(f, ", {replaced} replaced in time, {planned} planned by handlers")?;
        write!(f, ", {ticks} ticks, {pauses} pauses")
    }
}
