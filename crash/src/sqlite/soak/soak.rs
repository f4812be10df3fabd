//! A soak from a new file to the count.

use super::observer::Observer;
use super::report::{self, Summary};
use super::{growth, space};
use crate::sqlite::evidence::Evidence;
use crate::sqlite::judge::judge;
use crate::sqlite::plan::{self, Act, Habit};
use crate::sqlite::processes::{Process, Role, Round};
use crate::sqlite::round::{CONSUMERS, END_WITHIN, PRODUCERS, list, processes, wait_until_quiet};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How often the driver looks whether something is to be done.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What is to be run.
pub(crate) struct Soak {
    pub(crate) seed: u64,
    pub(crate) length: Duration,
    /// Messages a second of all producers.
    pub(crate) rate: u64,
    /// Where the figures go, too.
    pub(crate) json: Option<PathBuf>,
}

/// Runs it in `folder`, which is empty, and prints what it sees. Answers what does not hold.
pub(crate) fn run(folder: &Path, soak: &Soak) -> Result<(), String> {
    let mut round = Round::new(folder, soak.seed);
    round.rate = Some((soak.rate / PRODUCERS as u64).max(1));
    let mut processes = processes(&round);
    let mut observer = Observer::new(folder, soak.length);
    report::head(soak);
    load(soak, &mut processes, &mut observer)?;
    end(folder, processes, &mut observer)?;
    let evidence = Evidence::collect(folder)?;
    let space = space::measure(folder)?;
    let mut faults = judge(&evidence);
    faults.extend(growth::faults(soak.length, &observer.samples, &observer.lines));
    faults.extend(growth::log_fault(observer.log_bytes_max()));
    faults.extend(space.iter().flat_map(space::Space::faults));
    if evidence.confirmed.is_empty() {
        faults.push("nothing was confirmed: the soak shows nothing".to_owned());
    }
    let summary = Summary::new(soak, &observer, &evidence, space);
    report::tail(&summary);
    if let Some(file) = &soak.json {
        report::write(file, &observer, &summary, &faults)?;
    }
    if faults.is_empty() { Ok(()) } else { Err(list(faults)) }
}

/// Runs the processes and does to them what the seed says, for the whole time.
fn load(soak: &Soak, processes: &mut [Process], observer: &mut Observer) -> Result<(), String> {
    let steps = plan::draw(soak.seed, &habits(soak.length), soak.length);
    let mut steps = steps.into_iter().peekable();
    for process in &mut *processes {
        process.does(Act::Start)?;
    }
    let begun = Instant::now();
    while begun.elapsed() < soak.length || steps.peek().is_some() {
        while let Some(step) = steps.next_if(|step| step.at <= begun.elapsed()) {
            processes[step.process].must_run()?;
            processes[step.process].does(step.act)?;
            observer.acted(step.act);
        }
        for process in &mut *processes {
            process.must_run()?;
        }
        observer.look(processes)?;
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// Ends the producers, lets the consumers handle what is left, and ends them.
fn end(folder: &Path, mut processes: Vec<Process>, observer: &mut Observer) -> Result<(), String> {
    for process in processes.iter_mut().filter(|process| process.role() == Role::Producer) {
        process.does(Act::Kill)?;
    }
    wait_until_quiet(folder, &mut processes, || observer.note_log())?;
    observer.end(&processes)?;
    for process in processes.iter_mut().filter(|process| process.role() == Role::Consumer) {
        process.end(END_WITHIN)?;
    }
    Ok(())
}

/// The first producer and the first consumer live as long as the soak, so that what they lose
/// shows; they are stopped like the others.
fn habits(length: Duration) -> [Habit; PRODUCERS + CONSUMERS] {
    const CALM_MIN: Duration = Duration::from_millis(500);
    const CALM_MAX: Duration = Duration::from_secs(40);
    let calm = (length / 90).clamp(CALM_MIN, CALM_MAX).as_millis() as u64;
    let usual = Habit { calm_millis: calm..5 * calm, ..Habit::ROUND };
    std::array::from_fn(|process| match process {
        0 | PRODUCERS => Habit { kills_percent: 0, continues_percent: 100, ..usual.clone() },
        _ => usual.clone(),
    })
}
