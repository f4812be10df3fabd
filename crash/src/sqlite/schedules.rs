//! The case of schedules: processes that schedule, cancel and fire on one file are killed at random moments. Each
//! schedule must have fired once or be cancelled, and of what recurs there must be each moment once.

use super::consumer::{FILE, LEASE};
use super::evidence::Evidence;
use super::plan::Act;
use super::processes::{Process, Role, Round};
use crate::dice::Dice;
use crate::journal::{self, Journal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use tramline::schedules::{Cancelled, SCHEDULED_FOR};
use tramline::{Bus, CatchUp, Endpoint, Failure, Headers, Message, Recurring, Sqlite, Tx};

const PROCESSES: usize = 3;
const KILLS: u64 = 25;
const TICK: Duration = Duration::from_millis(20);
/// When the processes are told to schedule no more, by a file of this name.
const ENOUGH: &str = "enough";
/// What was scheduled last has fired by then.
const CALM: Duration = Duration::from_millis(1500);
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// A message that leaves once.
#[derive(Serialize, Deserialize)]
struct Remind {
    number: u64,
}

impl Message for Remind {
    const NAME: &'static str = "order.remind";
}

/// A message that leaves again and again.
#[derive(Serialize, Deserialize)]
struct Tick;

impl Message for Tick {
    const NAME: &'static str = "clock.tick";
}

/// A process that schedules, cancels and fires.
#[derive(clap::Args)]
pub(crate) struct Planner {
    #[command(flatten)]
    pub(crate) round: Round,
    index: u64,
    life: u64,
}

impl Planner {
    pub(crate) async fn run(&self) -> Result<(), String> {
        let told = |failure: Failure| failure.to_string();
        let bus = self.start().await.map_err(told)?;
        tokio::select! {
            planned = self.plan(&bus) => planned.map_err(told)?,
            drained = bus.run(DRAIN_LIMIT) => return drained.map(drop).map_err(|error| error.to_string()),
        }
        bus.run(DRAIN_LIMIT).await.map(drop).map_err(|error| error.to_string())
    }

    async fn start(&self) -> Result<Bus, Failure> {
        let sqlite = open(&self.round.folder).await?;
        let every = Recurring::every(TICK).after_downtime(CatchUp::All);
        let bus = Bus::builder(sqlite.clone()).store(sqlite.clone()).schedules(&sqlite);
        let bus = bus
            .recurring("tick", every, Tick)
            .endpoint(Endpoint::new("fired").subscribe::<Remind>().transactional().handle(fired))
            .endpoint(Endpoint::new("ticks").subscribe::<Tick>().transactional().handle(ticked));
        bus.start().await.map_err(Failure::permanent)
    }

    /// Schedules, and cancels every other one a little later: before it fires, after that, or just then.
    async fn plan(&self, bus: &Bus) -> Result<(), Failure> {
        let mut dice = Dice::new(self.round.seed + 1000 * self.index + self.life);
        let folder = &self.round.folder;
        let journal = |kind: Kind| Journal::open(&kind.folder(folder), &self.index.to_string());
        let [mut scheduled, mut cancelling, mut cancelled, mut late] = [
            journal(Kind::Scheduled)?,
            journal(Kind::Cancelling)?,
            journal(Kind::Cancelled)?,
            journal(Kind::Late)?,
        ];
        for count in 0.. {
            if folder.join(ENOUGH).exists() {
                return Ok(());
            }
            let number = (self.index * 1000 + self.life) * 100_000 + count;
            let name = format!("reminder:{number}");
            bus.schedule(&name, dice.millis(0..60), &Remind { number }).await?;
            scheduled.note(&[number])?;
            if dice.percent(50) {
                tokio::time::sleep(dice.millis(0..60)).await;
                cancelling.note(&[number])?;
                match bus.cancel(&name).await? {
                    Cancelled::Cancelled => cancelled.note(&[number])?,
                    Cancelled::TooLate => late.note(&[number])?,
                    Cancelled::NotYetKnown => {
                        return Err(Failure::permanent(format!("{name} is not known")));
                    }
                }
            }
        }
        Ok(())
    }
}

async fn fired(remind: Remind, tx: Tx<Sqlite>) -> Result<(), Failure> {
    note(&tx, "fired", remind.number.cast_signed())
}

async fn ticked(_tick: Tick, headers: Headers, tx: Tx<Sqlite>) -> Result<(), Failure> {
    let moment = headers.get(SCHEDULED_FOR).and_then(|moment| moment.as_int());
    note(&tx, "ticks", moment.ok_or_else(|| Failure::permanent("for no moment"))?)
}

fn note(tx: &Tx<Sqlite>, endpoint: &'static str, number: i64) -> Result<(), Failure> {
    tx.write(move |db| {
        let insert = "INSERT INTO effect (endpoint, number, key) VALUES (?1, ?2, '')";
        db.execute(insert, (endpoint, number))?;
        Ok(())
    })
}

async fn open(folder: &Path) -> tramline::Result<Sqlite> {
    Sqlite::options(folder.join(FILE)).lease(LEASE).open().await
}

/// What a process has written down of a schedule.
#[derive(Clone, Copy)]
enum Kind {
    Scheduled,
    /// It was about to be cancelled.
    Cancelling,
    Cancelled,
    /// The cancellation was too late.
    Late,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Scheduled, Self::Cancelling, Self::Cancelled, Self::Late];

    fn folder(self, round: &Path) -> PathBuf {
        round.join(match self {
            Self::Scheduled => "scheduled",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Late => "late",
        })
    }
}

/// What a round has seen.
pub(crate) struct Figures {
    fired: usize,
    cancelled: usize,
    late: usize,
    ticks: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fired, cancelled, late, ticks } = self;
        write!(
            f,
            "{KILLS} kills, {fired} fired, {cancelled} cancelled, {late} too late, {ticks} ticks"
        )
    }
}

/// Runs the case once in `folder`, which is empty.
pub(crate) fn run(folder: &Path, seed: u64) -> Result<Figures, String> {
    let told = |error: std::io::Error| error.to_string();
    for kind in Kind::ALL {
        std::fs::create_dir(kind.folder(folder)).map_err(told)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(told)?.block_on(prepare(folder)).map_err(|failure| failure.to_string())?;
    let mut dice = Dice::new(seed);
    let process = |index| Process::new(Role::Planner, index, Round::new(folder, seed));
    let mut processes: Vec<_> = (0..PROCESSES).map(process).collect();
    processes.iter_mut().try_for_each(|process| process.does(Act::Start))?;
    for _ in 0..KILLS {
        thread::sleep(dice.millis(20..300));
        let victim = &mut processes[dice.below(PROCESSES as u64) as usize];
        victim.must_run()?;
        victim.does(Act::Kill)?;
        // For a moment only the others are there.
        thread::sleep(dice.millis(0..100));
        victim.does(Act::Start)?;
    }
    std::fs::write(folder.join(ENOUGH), "").map_err(told)?;
    thread::sleep(CALM);
    processes.iter_mut().try_for_each(|process| process.end(DRAIN_LIMIT * 2))?;
    judge(folder)
}

async fn prepare(folder: &Path) -> Result<(), Failure> {
    let create = "CREATE TABLE effect
         (id INTEGER PRIMARY KEY, endpoint TEXT, number INTEGER, key TEXT)";
    open(folder).await?.write(move |db| Ok(db.execute(create, [])?)).await.map(drop)
}

fn judge(folder: &Path) -> Result<Figures, String> {
    let read =
        |kind: Kind| journal::read_all(&kind.folder(folder)).map_err(|error| error.to_string());
    let (scheduled, cancelling) = (read(Kind::Scheduled)?, read(Kind::Cancelling)?);
    let (cancelled, late) = (read(Kind::Cancelled)?, read(Kind::Late)?);
    let (mut fired, mut ticks) = (BTreeMap::<u64, usize>::new(), BTreeMap::<u64, usize>::new());
    for effect in &Evidence::collect(folder)?.effects {
        let all = if effect.endpoint == "ticks" { &mut ticks } else { &mut fired };
        *all.entry(effect.number).or_default() += 1;
    }
    let mut faults = Vec::new();
    for number in &scheduled {
        let times = fired.get(number).copied().unwrap_or(0);
        let is_sound = match times {
            0 => cancelling.contains(number) && !late.contains(number),
            1 => !cancelled.contains(number),
            _ => false,
        };
        if !is_sound {
            faults.push(format!("{number} has fired {times} times"));
        }
    }
    let mut doubles = fired.iter().chain(&ticks).filter(|(_, times)| **times > 1);
    faults.extend(doubles.by_ref().map(|(number, times)| format!("{number}: {times} times")));
    let moments: Vec<u64> = ticks.keys().copied().collect();
    let gaps = moments.windows(2).filter(|pair| u128::from(pair[1] - pair[0]) != TICK.as_millis());
    faults
        .extend(gaps.map(|pair| format!("nothing between the ticks {} and {}", pair[0], pair[1])));
    if moments.len() < 50 {
        faults.push(format!("{} ticks are too few", moments.len()));
    }
    if !faults.is_empty() {
        return Err(faults.join("\n  "));
    }
    let (fired, ticks) = (fired.len(), ticks.len());
    Ok(Figures { fired, cancelled: cancelled.len(), late: late.len(), ticks })
}
