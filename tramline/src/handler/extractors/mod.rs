//! The extractors that come with the bus.

mod facts;
mod scoped;
mod state;
mod tx;

pub use facts::{Attempt, Cancel};
pub(crate) use scoped::Maker;
pub use scoped::Scoped;
pub use state::State;
pub use tx::Tx;
