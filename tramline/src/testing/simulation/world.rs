//! The run of one seed: processes that live and die on one broker and one clock.

use super::client::Client;
use super::found::Violation;
use super::ledger::Ledger;
use super::life::Life;
use super::process::{Process, State};
use super::scenario::{Aftermath, Invariant, Scenario};
use super::script::{HowItStops, Script, Stop};
use crate::MessageId;
use crate::caught::panic_text;
use crate::testing::backlog::Backlog;
use crate::testing::faults::{Dice, Faults, Happening, LifeId, Rates, Source};
use crate::testing::trace::{Trace, What};
use futures_util::FutureExt;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tramline_core::clock::{Clock, Entropy, ManualClock, SeededEntropy, Timestamp};
use tramline_core::erased::DynStore;
use tramline_core::name::QueueRef;
use tramline_core::operate::Operate;
use tramline_memory::Memory;

/// What came of one run.
pub(crate) struct Run {
    pub(crate) verdict: Result<(), Violation>,
    /// What went wrong, all of it: with this instead of chance the run is the same.
    pub(crate) script: Script,
    pub(crate) trace: Trace,
    pub(crate) lives: u64,
    pub(crate) polls: u64,
}

/// When every run begins.
const BEGIN: Timestamp = Timestamp::from_millis(1_000_000_000_000);
/// How many polls a run may take.
const POLLS_MAX: u64 = 500_000;
/// How long nothing may move while something is there to be done at once.
const STILL_MAX: Duration = Duration::from_secs(30 * 60);
/// How long nothing may move while everything waits for a later time.
const DELAYED_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long a process that could not start, or was dead, stays away.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// Runs `scenario`; what goes wrong is drawn from `seed`, or is what `script` says.
pub(crate) fn run(seed: u64, scenario: Scenario, script: Option<&Script>) -> Run {
    let mut world = World::new(seed, scenario, script);
    let verdict = world.run();
    let lives = world.places.iter().map(|place| u64::from(place.lives)).sum();
    // Everything is dropped, so that nothing is told of this run any more.
    world.places.iter_mut().for_each(|place| drop(place.process.take()));
    let faults = std::mem::take(&mut world.happening.lock().faults);
    let script = Script { stops: std::mem::take(&mut world.stopped), faults };
    Run { verdict, script, trace: world.trace, lives, polls: world.polls }
}

struct World {
    seed: u64,
    scenario: Scenario,
    client: Client,
    clock: ManualClock,
    memory: Memory,
    elsewhere: Memory,
    stores: [Arc<dyn DynStore>; 2],
    ledger: Ledger,
    happening: Arc<Mutex<Happening>>,
    trace: Trace,
    /// Whose turn it is, and for how long.
    dice: Dice,
    places: Vec<Place>,
    /// The stops that are still to come, and those that were.
    stops: BTreeMap<LifeId, Stop>,
    stopped: BTreeMap<LifeId, Stop>,
    is_drawn: bool,
    polls: u64,
    /// Nothing that is drawn goes wrong any more after so many polls and the last stop.
    calm_at: u64,
}

/// A process and its lives so far.
struct Place {
    process: Option<Process>,
    lives: u32,
    starts_at: Timestamp,
    is_draining: bool,
}

impl World {
    fn new(seed: u64, mut scenario: Scenario, script: Option<&Script>) -> Self {
        let clock = ManualClock::at(BEGIN);
        let (trace, ledger) = (Trace::new(clock.clone()), Ledger::default());
        let options = std::mem::replace(&mut scenario.memory, Memory::options());
        let entropy = |part| SeededEntropy::new(Dice::of(seed, &[part]).below(u64::MAX));
        let accepted = ledger.clone();
        let memory = options
            .clock(Arc::new(clock.clone()))
            .entropy(Arc::new(entropy(1)))
            .watch(move |outgoing| accepted.accepted(outgoing))
            .build();
        let elsewhere =
            Memory::options().clock(Arc::new(clock.clone())).entropy(Arc::new(entropy(2))).build();
        let processes = u32::try_from(scenario.processes.len()).unwrap_or(u32::MAX);
        let (source, stops) = match script {
            None => {
                let rates = Rates::of(seed);
                (Source::Drawn { seed, rates }, Stop::drawn(seed, processes))
            }
            Some(script) => (Source::Listed(script.faults.clone()), script.stops.clone()),
        };
        let broker = memory.clone();
        let lose_leases = move |queue: &_| {
            broker.expire_leases(queue);
        };
        let happening = Happening::new(source, trace.clone(), lose_leases);
        let ids = entropy(3);
        let jobs = std::mem::take(&mut scenario.jobs).into_iter();
        let jobs = jobs.map(|job| (MessageId::new(BEGIN, ids.bits()), job)).collect();
        let place = |_: &_| Place { process: None, lives: 0, starts_at: BEGIN, is_draining: false };
        Self {
            seed,
            client: Client::new(jobs, clock.clone()),
            stores: [Arc::new(memory.clone()), Arc::new(elsewhere.clone())],
            memory,
            elsewhere,
            ledger,
            happening: Arc::new(Mutex::new(happening)),
            trace,
            dice: Dice::of(seed, &[4]),
            places: scenario.processes.iter().map(place).collect(),
            stops,
            stopped: BTreeMap::new(),
            is_drawn: script.is_none(),
            polls: 0,
            calm_at: Dice::of(seed, &[5]).below(1000),
            scenario,
            clock,
        }
    }

    /// Until nothing is left to do.
    fn run(&mut self) -> Result<(), Violation> {
        let mut still_since = self.clock.now();
        let mut before = (self.backlog(), self.ledger.counts());
        loop {
            if self.turns()? {
                self.check_polls()?;
                continue;
            }
            let now = (self.backlog(), self.ledger.counts());
            if self.client.is_done() && now.0.is_done() && self.all_run() {
                return self.check_the_end();
            }
            if now != before {
                (before, still_since) = (now, self.clock.now());
            }
            self.check_still(still_since, &before.0)?;
            if self.ledger.forgets_the_dead() {
                self.ledger.saw_dead(&self.aftermath().dead);
            }
            self.wind(&before.0, still_since)?;
        }
    }

    /// Each process has a turn. Answers whether any could do anything.
    fn turns(&mut self) -> Result<bool, Violation> {
        let mut any = false;
        for index in 0..self.places.len() {
            any |= self.turn(index)?;
        }
        Ok(any)
    }

    fn turn(&mut self, index: usize) -> Result<bool, Violation> {
        let Some(mut process) = self.places[index].process.take() else {
            return Ok(self.start(index));
        };
        let stop = self.stops.get(&process.life.id).copied();
        let left = stop.map_or(u64::MAX, |stop| stop.polls.saturating_sub(process.polls));
        let polls_before = process.polls;
        let ran = process.run(left.min(1 + self.dice.below(TURN_MAX)));
        self.polls += process.polls - polls_before;
        if self.is_drawn && self.stops.is_empty() && self.polls >= self.calm_at {
            // From now on everything must come to rest.
            self.happening.lock().source = Source::Calm;
        }
        if process.life.faults.is_dying() {
            return self.end(index, process).map(|()| true);
        }
        match process.state() {
            State::Failed(why) => {
                self.check_start(process.life.id, &why)?;
                self.trace.add(process.life.id, What::FailsToStart(why));
                return self.end(index, process).map(|()| true);
            }
            State::Drained => return self.end(index, process).map(|()| true),
            State::Starting | State::Runs(_) => {}
        }
        if let Some(stop) = stop.filter(|stop| process.polls >= stop.polls) {
            let drains = stop.how == HowItStops::Drains;
            if !drains || (!self.places[index].is_draining && !process.drain()) {
                return self.end(index, process).map(|()| true);
            }
            // From here on it has all the polls that it needs.
            self.places[index].is_draining = true;
            self.stops.remove(&process.life.id);
            self.stopped.insert(process.life.id, stop);
        }
        self.places[index].process = Some(process);
        Ok(ran)
    }

    /// Starts the process, unless it is too early. Answers whether it did.
    fn start(&mut self, index: usize) -> bool {
        let place = &mut self.places[index];
        if self.clock.now() < place.starts_at {
            return false;
        }
        place.lives += 1;
        place.is_draining = false;
        let process = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let id = LifeId { process, life: place.lives };
        let life = Life {
            id,
            seed: self.seed,
            faults: Faults::new(id, self.happening.clone(), self.clock.clone()),
            clock: self.clock.clone(),
            ledger: self.ledger.clone(),
            trace: self.trace.clone(),
            memory: Arc::new(self.memory.clone()),
            elsewhere: Arc::new(self.elsewhere.clone()),
        };
        // One process sends: else each message would come from all of them.
        let client = (index == 0).then(|| self.client.clone());
        place.process = Some(Process::start(life, &self.scenario.processes[index], client));
        true
    }

    /// A life is over; the next one begins a little later.
    fn end(&mut self, index: usize, process: Process) -> Result<(), Violation> {
        let id = process.life.id;
        process.die();
        self.places[index].starts_at = self.clock.now().after(RESTART_PAUSE);
        if let Some(stop) = self.stops.remove(&id) {
            self.stopped.insert(id, stop);
        }
        // A start that failed may have kept a life from its stop: that one never comes.
        self.stops.retain(|life, _| *life > id || life.process != id.process);
        self.ledger.check_settlements()?;
        self.check(|invariant| invariant.always)
    }

    /// Winds the clock to the next moment at which anything can happen.
    fn wind(&self, backlog: &Backlog, still_since: Timestamp) -> Result<(), Violation> {
        if self.client.is_done() && self.all_run() {
            let still = self.clock.now().since(still_since);
            let due = backlog.skips_to(&self.memory, still).now_or_never().flatten();
            if let Some(due) = due {
                self.clock.advance(due.since(self.clock.now()));
                return Ok(());
            }
        }
        let waits = self.places.iter().filter(|place| place.process.is_none());
        let starts = waits.map(|place| place.starts_at).min();
        let Some(next) = self.clock.next_wake().into_iter().chain(starts).min() else {
            return Err(stall(format!("nobody waits for anything, and there is\n{backlog}")));
        };
        self.clock.advance(next.since(self.clock.now()));
        Ok(())
    }

    fn all_run(&self) -> bool {
        self.places.iter().all(|place| {
            let state = place.process.as_ref().map(Process::state);
            matches!(state, Some(State::Runs(_))) && !place.is_draining
        })
    }

    fn backlog(&self) -> Backlog {
        let backlog = Backlog::of(&self.memory, &self.stores).now_or_never();
        backlog.and_then(Result::ok).unwrap_or_default()
    }

    /// A start may fail by what goes wrong in it, and by nothing else.
    fn check_start(&self, life: LifeId, why: &str) -> Result<(), Violation> {
        let happening = self.happening.lock();
        if happening.faults.keys().any(|site| site.life == life) {
            return Ok(());
        }
        Err(Violation::new("a process starts", why))
    }

    fn check_polls(&self) -> Result<(), Violation> {
        if self.polls <= POLLS_MAX {
            return Ok(());
        }
        let backlog = self.backlog();
        Err(stall(format!("after {POLLS_MAX} polls it does not rest, and there is\n{backlog}")))
    }

    fn check_still(&self, since: Timestamp, backlog: &Backlog) -> Result<(), Violation> {
        let still = self.clock.now().since(since);
        let limit = if backlog.has_delayed() { DELAYED_MAX } else { STILL_MAX };
        if still <= limit {
            return Ok(());
        }
        Err(stall(format!("nothing has moved for {still:?}, and there is\n{backlog}")))
    }

    fn check_the_end(&self) -> Result<(), Violation> {
        self.ledger.check_settlements()?;
        self.ledger.check_nothing_is_lost(&self.aftermath().dead)?;
        self.check(|_| true)
    }

    fn check(&self, asked: impl Fn(&Invariant) -> bool) -> Result<(), Violation> {
        let aftermath = self.aftermath();
        for invariant in self.scenario.invariants.iter().filter(|invariant| asked(invariant)) {
            // An assertion in it is an answer as well, and is to be shrunk like any other.
            let checked = catch_unwind(AssertUnwindSafe(|| (invariant.check)(&aftermath)));
            let checked =
                checked.unwrap_or_else(|panic| Err(format!("panicked: {}", panic_text(&*panic))));
            checked.map_err(|what| Violation::new(invariant.name, what))?;
        }
        Ok(())
    }

    fn aftermath(&self) -> Aftermath {
        // Dead letters that could not be looked at must not pass for none.
        const AT_ONCE: &str = "memory answers every look at once";
        let mut dead = Vec::new();
        for queue in self.memory.queues().now_or_never().and_then(Result::ok).expect(AT_ONCE) {
            let letters = QueueRef::Dead(queue.clone());
            let letters = self.memory.peek(&letters, None, u32::MAX).now_or_never();
            let letters = letters.and_then(Result::ok).expect(AT_ONCE);
            dead.extend(letters.into_iter().map(|letter| (queue.clone(), letter)));
        }
        Aftermath { memory: self.memory.clone(), elsewhere: self.elsewhere.clone(), dead }
    }
}

/// How many polls a process has in one turn at most.
const TURN_MAX: u64 = 12;

fn stall(what: String) -> Violation {
    Violation::new("nothing stalls", what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Endpoint;
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    struct Ping;

    impl crate::Message for Ping {
        const NAME: &'static str = "ping";
    }

    fn scenario() -> Scenario {
        async fn pong(_: Ping) {}
        let scenario =
            Scenario::new(|life| life.bus().endpoint(Endpoint::new("ping").handle(pong)));
        (0..4).fold(scenario, |scenario, _| scenario.send("ping", Ping))
    }

    #[test]
    fn a_run_by_the_list_of_what_was_drawn_is_the_same_run() {
        for seed in 0..50 {
            let drawn = run(seed, scenario(), None);
            let listed = run(seed, scenario(), Some(&drawn.script));
            assert_eq!(drawn.script, listed.script, "seed {seed}");
            assert_eq!(drawn.trace.fingerprint(), listed.trace.fingerprint(), "seed {seed}");
        }
    }
}
