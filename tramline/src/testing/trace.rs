//! What happened in one run, step by step.

use super::faults::{Call, Fault, LifeId};
use parking_lot::Mutex;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tramline_core::clock::{Clock, ManualClock, Timestamp};

/// The steps of one run. Clones are the same trace.
#[derive(Clone)]
pub(crate) struct Trace {
    clock: ManualClock,
    begin: Timestamp,
    steps: Arc<Mutex<Vec<Step>>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    at: Duration,
    life: LifeId,
    what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Starts,
    FailsToStart(String),
    Called { call: Call, nth: u32, fault: Option<Fault> },
    Confirmed(String),
    Unconfirmed(String),
    Acted(&'static str),
    FailsToAct(&'static str, String),
    Handled(String),
    Drains,
    Drained,
    Dies { polls: u64 },
}

impl Trace {
    pub(crate) fn new(clock: ManualClock) -> Self {
        Self { begin: clock.now(), clock, steps: Arc::default() }
    }

    pub(crate) fn add(&self, life: LifeId, what: What) {
        let at = self.clock.now().since(self.begin);
        self.steps.lock().push(Step { at, life, what });
    }

    /// The same for two runs in which the same has happened at the same times.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for step in &*self.steps.lock() {
            step.to_string().hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The steps that tell something: all but the calls that went well.
    pub(crate) fn telling(&self) -> Vec<String> {
        let steps = self.steps.lock();
        let went_well = |step: &&Step| matches!(step.what, What::Called { fault: None, .. });
        steps.iter().filter(|step| !went_well(step)).map(ToString::to_string).collect()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, life, what } = self;
        write!(f, "{:>9.3} s  {life}: ", at.as_secs_f64())?;
        match what {
            What::Starts => f.write_str("starts"),
            What::FailsToStart(why) => write!(f, "fails to start: {}", why.replace('\n', " ")),
            What::Called { call, nth, fault: None } => write!(f, "`{}` no. {nth}", call.name()),
            What::Called { call, nth, fault: Some(fault) } => {
                write!(f, "`{}` no. {nth} {fault}", call.name())
            }
            What::Confirmed(message) => write!(f, "{message} is confirmed to its sender"),
            What::Unconfirmed(message) => write!(f, "{message} is not confirmed to its sender"),
            What::Acted(what) => write!(f, "`{what}` is done"),
            What::FailsToAct(what, why) => {
                write!(f, "`{what}` is not done: {}", why.replace('\n', " "))
            }
            What::Handled(message) => write!(f, "{message} is handled"),
            What::Drains => f.write_str("is told to stop"),
            What::Drained => f.write_str("has stopped"),
            What::Dies { polls } => write!(f, "dies after {polls} polls"),
        }
    }
}
