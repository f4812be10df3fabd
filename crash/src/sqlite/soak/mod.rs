//! One file under an even load for a long time, with calm between kills and stops: what grows a
//! little with each message has the time to show.
//!
//! 1. `soak`: from a new file to the count
//! 2. `observer`: looks at the processes and the files; `sample`: what is seen at one moment;
//!    `vitals`: of a process; `tally`: of the effects; `space`: what is in the files at the end
//! 3. `growth`: what must not grow without end
//! 4. `report`: the figures for people and for programs

mod growth;
mod observer;
mod report;
mod sample;
#[expect(clippy::module_inception, reason = "the whole of it is told there")]
mod soak;
mod space;
mod tally;
mod vitals;

pub(crate) use soak::{Soak, run};
