//! What a message goes through on its way to a handler: steps, wrapped in layers.

mod context;
pub mod layers;
mod step;

pub use context::Context;
pub(crate) use context::{Disposition, Incoming, Loan};
pub(crate) use step::BoxedLayer;
pub use step::{DynStep, Layer, Outcome, Pipeline, Stack, Step};
