//! Handlers: plain async functions, the message first, then extractors.

mod batch;
mod batch_outcome;
pub mod extract;
mod extractors;
#[expect(clippy::module_inception, reason = "the trait itself, beside its relatives")]
mod handler;
mod item;
mod router;
mod versions;

pub use batch::BatchHandler;
pub use batch_outcome::{BatchOutcome, IntoBatchOutcome};
pub use extract::{FromContext, Requirements};
pub(crate) use extractors::Maker;
pub use extractors::{Attempt, Cancel, Scoped, State, Tx};
pub use handler::{Handler, IntoOutcome};
pub use item::Item;

pub(crate) use batch::BatchStep;
pub(crate) use handler::HandlerStep;
pub(crate) use router::{Route, Routed, Router};
pub(crate) use versions::{Target, Versions};
