//! The extractors that come with the bus.

mod facts;
mod state;
mod tx;

pub use facts::{Attempt, Cancel};
pub use state::State;
pub use tx::Tx;
