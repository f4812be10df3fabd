//! The one thread that writes: jobs come over a channel, everything that has arrived runs in one
//! transaction, then all are answered.

mod caught;
mod control;
mod group;
mod guard;
mod job;
mod log;
mod member;
mod restart;
mod submit;
mod thread;
mod tokens;
mod work;

#[cfg(test)]
mod tests;

pub(crate) use caught::caught;
pub(crate) use group::Writer;
pub(crate) use guard::Guard;
pub(crate) use job::{Ending, Job};
pub(crate) use member::{Member, Temporary};
pub(crate) use submit::{JOBS_WAITING_MAX, Plan, WriteError};
pub(crate) use thread::spawn;
pub(crate) use work::Work;
