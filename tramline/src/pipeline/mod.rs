//! What a message goes through on its way to a handler: steps, wrapped in layers.

mod buffer;
mod context;
mod incoming;
pub mod layers;
mod loan;
mod poison_lane;
mod states;
mod step;
mod surroundings;

pub(crate) use buffer::{Buffer, Page, Published};
pub use context::Context;
pub(crate) use context::Disposition;
pub(crate) use incoming::Incoming;
pub(crate) use loan::{Loan, not_given_back};
#[doc(hidden)]
pub use poison_lane::PoisonLane;
pub(crate) use poison_lane::Trial;
pub(crate) use states::States;
pub(crate) use step::BoxedLayer;
pub use step::{DynStep, Layer, Outcome, Pipeline, Stack, Step};
pub(crate) use surroundings::Surroundings;
