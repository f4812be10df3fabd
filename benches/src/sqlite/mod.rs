//! The engine on a SQLite file, beside rows written by hand.

mod cases;
pub(crate) mod growth;
mod ours;
pub(crate) mod peer;
mod twin;

pub(crate) use cases::cases;
pub(crate) use ours::listening;
