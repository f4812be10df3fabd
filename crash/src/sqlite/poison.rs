//! The poison case: one message among a thousand that were taken ahead kills its process, and the
//! process is killed at random moments, too. That one message alone must die.

use super::consumer::{FILE, LEASE};
use super::evidence::{Evidence, Onlooker};
use super::plan::Act;
use super::processes::{Process, Role, Round};
use crate::dice::Dice;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use tramline::core::topology::Topology;
use tramline::core::transport::Transport;
use tramline::{Bus, Endpoint, Failure, Message, QueueName, QueueSpec, Sqlite, Tx};

const QUEUE: &str = "poisoned";
const MESSAGES: u64 = 1000;
const KILLS: u64 = 25;
/// How long a handler takes: the processes are to be killed before they are through.
const HANDLING: Duration = Duration::from_millis(15);
const LOOK_EVERY: Duration = Duration::from_millis(5);
const HANDLED_WITHIN: Duration = Duration::from_secs(180);
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// A message; one of them kills.
#[derive(Serialize, Deserialize)]
struct Dose {
    number: u64,
    kills: bool,
}

impl Message for Dose {
    const NAME: &'static str = "dose.given";
}

/// The process that handles them.
#[derive(clap::Args)]
pub(crate) struct Taster {
    #[command(flatten)]
    pub(crate) round: Round,
}

impl Taster {
    pub(crate) async fn run(&self) -> Result<(), String> {
        let sqlite = open(&self.round.folder).await.map_err(|error| error.to_string())?;
        let endpoint = Endpoint::new(QUEUE).prefetch(MESSAGES as u32).concurrency(16);
        let bus = Bus::builder(sqlite.clone())
            .store(sqlite)
            .endpoint(endpoint.transactional().handle(taste))
            .start()
            .await
            .map_err(|error| error.to_string())?;
        bus.run(DRAIN_LIMIT).await.map(|_| ()).map_err(|error| error.to_string())
    }
}

async fn taste(dose: Dose, tx: Tx<Sqlite>) -> Result<(), Failure> {
    if dose.kills {
        std::process::abort();
    }
    tokio::time::sleep(HANDLING).await;
    tx.write(move |db| {
        let insert = "INSERT INTO effect (endpoint, number, key) VALUES (?1, ?2, '')";
        db.execute(insert, (QUEUE, dose.number.cast_signed()))?;
        Ok(())
    })
}

async fn open(folder: &Path) -> tramline::Result<Sqlite> {
    Sqlite::options(folder.join(FILE)).lease(LEASE).open().await
}

/// How often the process has died.
pub(crate) struct Figures {
    /// By SIGKILL.
    kills: u64,
    /// By the message.
    deaths: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, deaths } = self;
        write!(f, "{kills} kills, {deaths} deaths of the killer, 1 dead of {MESSAGES}")
    }
}

/// Runs the case once in `folder`, which is empty.
pub(crate) fn run(folder: &Path, seed: u64) -> Result<Figures, String> {
    let mut dice = Dice::new(seed);
    let killer = dice.below(MESSAGES);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("failed to start a runtime: {error}"))?;
    runtime.block_on(prepare(folder, killer))?;
    drop(runtime);

    let mut taster = Process::new(Role::Taster, 0, Round::new(folder, seed));
    let onlooker = Onlooker::new(folder)?;
    let (mut kills, mut deaths) = (0, 0);
    let begun = Instant::now();
    let mut left = onlooker.at_work()?;
    while left > 0 {
        taster.does(Act::Start)?;
        let killed_after = Instant::now() + dice.millis(10..250);
        let left_before = left;
        loop {
            thread::sleep(LOOK_EVERY);
            left = onlooker.at_work()?;
            // Whom the last kill has hit is through first: nobody is to be hit three times.
            let may_be_killed = Instant::now() >= killed_after && left + 2 <= left_before;
            if taster.has_died()? {
                deaths += 1;
                break;
            } else if left == 0 || (may_be_killed && kills < KILLS) {
                kills += u64::from(left > 0);
                taster.does(Act::Kill)?;
                break;
            } else if begun.elapsed() > HANDLED_WITHIN {
                return Err(format!("after {HANDLED_WITHIN:?} {left} messages are still there"));
            }
        }
    }
    if kills < KILLS {
        return Err(format!("everything was handled before the process was killed {kills} times"));
    }
    judge(folder, killer)?;
    Ok(Figures { kills, deaths })
}

/// A file with the messages in their queue.
async fn prepare(folder: &Path, killer: u64) -> Result<(), String> {
    let placed = async {
        let sqlite = open(folder).await?;
        let queues = vec![QueueSpec::new(QueueName::new(QUEUE).map_err(Failure::permanent)?)];
        sqlite.declare(&Topology { queues, ..Topology::default() }).await?;
        let create = "CREATE TABLE effect
             (id INTEGER PRIMARY KEY, endpoint TEXT, number INTEGER, key TEXT)";
        sqlite.write(move |db| Ok(db.execute(create, [])?)).await?;
        let bus = Bus::builder(sqlite).start().await?;
        let doses: Vec<Dose> =
            (0..MESSAGES).map(|number| Dose { number, kills: number == killer }).collect();
        for receipt in bus.send_all(QUEUE, &doses).await {
            receipt?;
        }
        let _drained = bus.drain(DRAIN_LIMIT).await?;
        Ok::<_, Failure>(())
    };
    placed.await.map_err(|failure| failure.to_string())
}

fn judge(folder: &Path, killer: u64) -> Result<(), String> {
    let evidence = Evidence::collect(folder)?;
    let mut handled: BTreeMap<u64, usize> = BTreeMap::new();
    for effect in &evidence.effects {
        *handled.entry(effect.number).or_default() += 1;
    }
    let dead: Vec<(u64, &str)> =
        evidence.dead.iter().map(|letter| (letter.number, letter.reason.as_str())).collect();
    let mut faults = Vec::new();
    for number in (0..MESSAGES).filter(|number| *number != killer) {
        let times = handled.get(&number).copied().unwrap_or(0);
        if times != 1 {
            faults.push(format!("{number} was handled {times} times"));
        }
    }
    if handled.contains_key(&killer) {
        faults.push(format!("the killer, {killer}, was handled"));
    }
    let expected = [(killer, "poison")];
    if dead != expected {
        faults.push(format!("dead should be {expected:?} alone, dead are {dead:?}"));
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n  ")) }
}
