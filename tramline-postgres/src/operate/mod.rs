//! What operators see and do.

mod forget;
mod look;
#[expect(clippy::module_inception, reason = "the contract itself, beside its parts")]
mod operate;
mod peek;
mod redrive;
mod tally;

pub(crate) use forget::forget;
pub use tally::Tally;
