//! One round: a new file, processes on it, what is done to them, and the count.

use super::consumer::FILE;
use super::evidence::{Evidence, Onlooker};
use super::judge::judge;
use super::plan::{self, Act, Habit, Step};
use super::processes::{Process, Role, Round};
use std::fmt;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) const PRODUCERS: usize = 2;
pub(crate) const CONSUMERS: usize = 3;
/// How long processes are killed and stopped.
const LENGTH: Duration = Duration::from_millis(1800);
/// How long the consumers may take for what is left when nobody disturbs them any more.
const QUIET_WITHIN: Duration = Duration::from_secs(60);
pub(crate) const END_WITHIN: Duration = Duration::from_secs(30);
/// How often the driver looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long the log may be when nobody is stopped.
const WAL_MIB_MAX: f64 = 16.0;
/// By how much it may grow while somebody is: one who was stopped in the middle of a read or of a
/// checkpoint keeps the log from beginning anew.
const WAL_MIB_MAX_PER_SECOND: f64 = 48.0;

/// What a round was about.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) confirmed: usize,
    pub(crate) effects: usize,
    pub(crate) dead: usize,
    pub(crate) poison: usize,
    pub(crate) kills: usize,
    pub(crate) stops: usize,
    pub(crate) wal_bytes_max: u64,
}

/// Runs one round in `folder`, which is empty.
pub(crate) fn run(folder: &Path, seed: u64) -> Result<Figures, String> {
    let steps = plan::draw(seed, &[const { Habit::ROUND }; PRODUCERS + CONSUMERS], LENGTH);
    let mut processes = processes(&Round::new(folder, seed));
    let mut wal_bytes_max = 0;
    for process in &mut processes {
        process.does(Act::Start)?;
    }
    disturb(&mut processes, &steps, || note_log(folder, &mut wal_bytes_max))?;
    for process in processes.iter_mut().filter(|process| process.role() == Role::Producer) {
        process.does(Act::Kill)?;
    }
    wait_until_quiet(folder, &mut processes, || note_log(folder, &mut wal_bytes_max))?;
    for process in processes.iter_mut().filter(|process| process.role() == Role::Consumer) {
        process.end(END_WITHIN)?;
    }
    let evidence = Evidence::collect(folder)?;
    let mut faults = judge(&evidence);
    let stopped = plan::stopped(&steps);
    let wal_mib_max = WAL_MIB_MAX + WAL_MIB_MAX_PER_SECOND * stopped.as_secs_f64();
    if wal_bytes_max as f64 > wal_mib_max * 1024.0 * 1024.0 {
        faults.push(format!("stopped for {stopped:?}, the log grew to {wal_bytes_max} bytes"));
    }
    if evidence.confirmed.is_empty() {
        faults.push("nothing was confirmed: the round shows nothing".to_owned());
    }
    if faults.is_empty() {
        Ok(figures(&evidence, &steps, wal_bytes_max))
    } else {
        Err(list(faults))
    }
}

/// Those of a round, the producers first, none of them started.
pub(crate) fn processes(round: &Round) -> Vec<Process> {
    let process = |role| move |index| Process::new(role, index, round.clone());
    let producers = (0..PRODUCERS).map(process(Role::Producer));
    producers.chain((0..CONSUMERS).map(process(Role::Consumer))).collect()
}

fn disturb(
    processes: &mut [Process],
    steps: &[Step],
    mut look: impl FnMut(),
) -> Result<(), String> {
    let begun = Instant::now();
    for step in steps {
        while begun.elapsed() < step.at {
            look();
            thread::sleep(LOOK_EVERY.min(step.at.saturating_sub(begun.elapsed())));
        }
        let process = &mut processes[step.process];
        process.must_run()?;
        process.does(step.act)?;
    }
    Ok(())
}

/// Waits until every message is handled or dead, while the consumers run undisturbed.
pub(crate) fn wait_until_quiet(
    folder: &Path,
    processes: &mut [Process],
    mut look: impl FnMut(),
) -> Result<(), String> {
    let onlooker = Onlooker::new(folder)?;
    let deadline = Instant::now() + QUIET_WITHIN;
    loop {
        let left = onlooker.at_work()?;
        if left == 0 {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(format!("after {QUIET_WITHIN:?} {left} messages are still there"));
        }
        for process in processes.iter_mut() {
            process.must_run()?;
        }
        look();
        thread::sleep(LOOK_EVERY);
    }
}

fn note_log(folder: &Path, bytes_max: &mut u64) {
    // There is none before the first process, nor after the last.
    if let Ok(log) = fs::metadata(folder.join(format!("{FILE}-wal"))) {
        *bytes_max = log.len().max(*bytes_max);
    }
}

fn figures(evidence: &Evidence, steps: &[Step], wal_bytes_max: u64) -> Figures {
    let acts = |act| steps.iter().filter(|step| step.act == act).count();
    Figures {
        confirmed: evidence.confirmed.len(),
        effects: evidence.effects.len(),
        dead: evidence.dead.len(),
        poison: evidence.dead.iter().filter(|letter| letter.reason == "poison").count(),
        kills: acts(Act::Kill),
        stops: acts(Act::Stop),
        wal_bytes_max,
    }
}

pub(crate) fn list(faults: Vec<String>) -> String {
    const SHOWN: usize = 20;
    let more = faults.len().saturating_sub(SHOWN);
    let shown = faults.into_iter().take(SHOWN).collect::<Vec<_>>().join("\n  ");
    if more == 0 { format!("  {shown}") } else { format!("  {shown}\n  and {more} more") }
}

impl Figures {
    /// Together with another round's.
    pub(crate) fn add(&mut self, other: &Self) {
        self.confirmed += other.confirmed;
        self.effects += other.effects;
        self.dead += other.dead;
        self.poison += other.poison;
        self.kills += other.kills;
        self.stops += other.stops;
        self.wal_bytes_max = self.wal_bytes_max.max(other.wal_bytes_max);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { confirmed, effects, dead, poison, kills, stops, wal_bytes_max } = self;
        write!(
            f,
            "{confirmed} confirmed, {effects} effects, {dead} dead ({poison} poison), \
             {kills} kills, {stops} stops, log at most {} KiB",
            wal_bytes_max / 1024
        )
    }
}
