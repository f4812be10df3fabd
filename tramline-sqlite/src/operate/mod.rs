//! What operators see and do.

mod look;
#[expect(clippy::module_inception, reason = "the contract itself, beside its parts")]
mod operate;
mod peek;
mod purge;
mod redrive;
mod tally;

pub use tally::Tally;

pub(crate) use tally::Line;
