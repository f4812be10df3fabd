//! What a simulation has found, told to people.

use super::script::Script;
use std::fmt;

/// Something that had to hold, and did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// What had to hold.
    pub(crate) invariant: String,
    /// How it did not.
    pub(crate) what: String,
}

impl Violation {
    pub(crate) fn new(invariant: &str, what: impl Into<String>) -> Self {
        Self { invariant: invariant.to_owned(), what: what.into() }
    }
}

/// A run in which something did not hold: the seed, the fewest faults that are needed for it, and
/// what happened then. Its text says all of it, and how to replay it.
#[derive(Clone)]
pub struct Found(pub(crate) Box<Finding>);

/// What there is to tell.
#[derive(Clone)]
pub(crate) struct Finding {
    pub(crate) seed: u64,
    pub(crate) violation: Violation,
    /// What is left of what went wrong.
    pub(crate) script: Script,
    /// How much went wrong at first.
    pub(crate) faults_at_first: usize,
    /// The same goes wrong whenever this does.
    pub(crate) is_repeated: bool,
    pub(crate) steps: Vec<String>,
}

impl Found {
    /// The seed of the run: [`Simulation::seed`](super::Simulation::seed) replays it exactly.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// What had to hold.
    pub fn invariant(&self) -> &str {
        &self.0.violation.invariant
    }

    /// How it did not.
    pub fn what(&self) -> &str {
        &self.0.violation.what
    }

    /// How many crashes and faults it takes, after those that it does not need are left out.
    pub fn faults(&self) -> usize {
        self.0.script.len()
    }
}

/// What follows is then not what happened.
const NOT_REPEATED: &str = "it did not happen again under the same faults: something depends on \
    more than the seed, such as another clock, thread or source of chance, or what an earlier run \
    has left; the faults and steps below are those of a run that held";

/// More of a run is not read by anybody.
const STEPS_SHOWN_MAX: usize = 60;

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { seed, violation, script, faults_at_first, is_repeated, steps } = &*self.0;
        writeln!(f, "seed {seed}: {}: {}", violation.invariant, violation.what)?;
        if !is_repeated {
            writeln!(f, "{NOT_REPEATED}")?;
        }
        writeln!(f, "it takes {} of the {faults_at_first} faults of this seed:", script.len())?;
        write!(f, "{script}")?;
        writeln!(f, "what happens then:")?;
        for step in steps.iter().take(STEPS_SHOWN_MAX) {
            writeln!(f, "{step}")?;
        }
        if steps.len() > STEPS_SHOWN_MAX {
            writeln!(f, "  … and {} steps more", steps.len() - STEPS_SHOWN_MAX)?;
        }
        write!(f, "to replay it: `.seed({seed})` on the simulation")
    }
}

/// As its text, so that a test that unwraps it shows all of it.
impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Found {}
