//! What crash tests with a server have in common, whichever server it is.
//!
//! 1. `round`: the program around a scenario
//! 2. `message`: what is sent; `load`: by whom
//! 3. `process`: the same program as a process that is killed
//! 4. `record`: what is known afterwards; `judge`: what must hold of it; `outcome`: how it ended
//! 5. `waiting`: what must come to pass

mod judge;
mod load;
mod message;
mod outcome;
mod process;
mod record;
mod round;
mod waiting;

pub(crate) use judge::{DeadLetter, Evidence, Verdict, judge};
pub(crate) use load::{Answers, Load, Style};
pub(crate) use message::{DIES, KILLS, Noted, Placed};
pub(crate) use outcome::Outcome;
pub(crate) use process::{Place, Process};
pub(crate) use record::Record;
pub(crate) use round::{failed, log, new_folder, runtime, seed};
pub(crate) use waiting::{DRAIN_LIMIT, PATIENCE, drain, list, until};
