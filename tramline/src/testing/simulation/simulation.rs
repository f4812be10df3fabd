//! Runs seed after seed.

use super::found::{Finding, Found};
use super::scenario::Scenario;
use super::shrink::shrink;
use super::world::{self, Run};
use parking_lot::Mutex;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Handlers under everything that can go wrong: calls of the transport and the store fail, are
/// late, lose their answers, happen twice or out of order, and processes die at any `.await` and
/// start again on what is durable. By seed, so that what is found can be replayed.
///
/// What must hold in any case is checked without being asked: what was accepted is handled or a
/// dead letter, nothing is settled twice, and nothing stalls. Add what must hold for you.
///
/// It runs in threads of its own: call it from a plain `#[test]`. What a handler does must depend
/// on its message and on what is in this world alone: no sleeping, no other threads, no clock and
/// no chance but those of [`Life`](super::Life).
///
/// This finds the double charge of a handler that calls a gateway and does not say which message
/// it does so for:
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
/// use tramline::testing::{Scenario, Simulation};
/// use tramline::{Endpoint, Message, State};
///
/// # #[derive(Serialize, Deserialize)] struct Charge { order: u64 }
/// # impl Message for Charge { const NAME: &'static str = "payments.charge"; }
/// async fn charge(_: Charge, State(charges): State<Arc<AtomicU32>>) {
///     charges.fetch_add(1, SeqCst);
/// }
///
/// # fn main() {
/// let simulation = Simulation::of(|_seed| {
///     let charges = Arc::new(AtomicU32::new(0));           // the outside world: it never dies
///     let outside = charges.clone();
///     Scenario::new(move |life| {                          // a process: called for each life
///         let payment = Endpoint::new("payment").handle(charge);
///         life.bus().state(outside.clone()).endpoint(payment)
///     })
///     .send("payment", Charge { order: 1 })
///     .always("no order is charged twice", move |_| match charges.load(SeqCst) {
///         0 | 1 => Ok(()),
///         times => Err(format!("it was charged {times} times")),
///     })
/// });
/// let found = simulation.seeds(0..1000).run().unwrap_err();
/// assert_eq!(found.invariant(), "no order is charged twice");
/// assert_eq!(found.faults(), 1, "one crash, or one lost answer, is enough");
/// println!("{found}");
/// # }
/// ```
#[derive(Clone)]
pub struct Simulation {
    scenario: Arc<dyn Fn(u64) -> Scenario + Send + Sync>,
    seeds: Range<u64>,
}

/// Every seed has held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survived {
    /// How many seeds there were.
    pub seeds: u64,
    /// How many lives the processes had together.
    pub lives: u64,
    /// How many faults and crashes there were.
    pub faults: u64,
    /// How often any task was polled.
    pub polls: u64,
    /// The same whenever the same has happened: if it differs between two runs of the same seeds,
    /// something in them depends on more than the seed.
    pub fingerprint: u64,
}

impl fmt::Display for Survived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, lives, faults, polls, .. } = self;
        write!(f, "{seeds} seeds held: {lives} lives, {faults} faults and crashes, {polls} polls")
    }
}

impl Simulation {
    /// Simulates what `scenario` makes, anew for each seed. The seed is given to it, so that seeds
    /// can differ in their messages as well.
    pub fn of(scenario: impl Fn(u64) -> Scenario + Send + Sync + 'static) -> Self {
        Self { scenario: Arc::new(scenario), seeds: 0..1000 }
    }

    /// Which seeds; the first thousand if not said.
    pub fn seeds(mut self, seeds: Range<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// This seed alone: replays exactly what it did before.
    pub fn seed(self, seed: u64) -> Self {
        self.seeds(seed..seed.saturating_add(1))
    }

    /// Runs the seeds, on as many threads as there are processors.
    ///
    /// # Errors
    /// [`Found`]: the first seed that does not hold, with as few faults as it takes. Unwrapped in
    /// a test it shows what happens, and how to replay it.
    pub fn run(&self) -> Result<Survived, Found> {
        let next = AtomicU64::new(self.seeds.start);
        let survived = Mutex::new(Survived::default());
        let failed: Mutex<Option<(u64, Run)>> = Mutex::new(None);
        let work = || loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            // Seeds are handed out in their order, so none before the first that fails is missed.
            if seed >= self.seeds.end || failed.lock().is_some() {
                return;
            }
            let run = self.run_one(seed);
            if run.verdict.is_ok() {
                survived.lock().add(&run);
                continue;
            }
            let mut failed = failed.lock();
            if failed.as_ref().is_none_or(|(first, _)| seed < *first) {
                *failed = Some((seed, run));
            }
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            for worker in workers {
                if let Err(panic) = worker.join() {
                    std::panic::resume_unwind(panic);
                }
            }
        });
        match failed.into_inner() {
            Some((seed, run)) => Err(thread::scope(|scope| {
                let shrunk = scope.spawn(|| self.shrunk(seed, run)).join();
                shrunk.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })),
            None => Ok(survived.into_inner()),
        }
    }

    /// The steps of the first seed, one a line, calls that went well left out.
    pub fn steps(&self) -> Vec<String> {
        let seed = self.seeds.start;
        let run = thread::scope(|scope| scope.spawn(|| self.run_one(seed)).join());
        run.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).trace.telling()
    }

    fn run_one(&self, seed: u64) -> Run {
        world::run(seed, (self.scenario)(seed), None)
    }

    fn shrunk(&self, seed: u64, run: Run) -> Found {
        let again = |script: &_| world::run(seed, (self.scenario)(seed), Some(script));
        let faults_at_first = run.script.len();
        let violation = match run.verdict {
            Err(violation) => violation,
            Ok(()) => unreachable!("only runs that fail are shrunk"),
        };
        let (script, violation) =
            shrink(run.script, violation, |script| again(script).verdict.err());
        let last = again(&script);
        let is_repeated =
            last.verdict.is_err_and(|violated| violated.invariant == violation.invariant);
        let steps = last.trace.telling();
        let finding = Finding { seed, violation, script, faults_at_first, is_repeated, steps };
        Found(Box::new(finding))
    }
}

impl Survived {
    fn add(&mut self, run: &Run) {
        self.seeds += 1;
        self.lives += run.lives;
        self.faults += run.script.len() as u64;
        self.polls += run.polls;
        // Seeds end in any order.
        self.fingerprint ^= run.trace.fingerprint();
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Simulation({:?})", self.seeds)
    }
}
