//! From the outbox to the transport, for stores that are elsewhere.

mod held;
#[expect(clippy::module_inception, reason = "the loop itself, beside its planning")]
mod relay;
mod unsent;
mod waves;

pub(crate) use relay::{Relay, relay};
pub use unsent::{Unsent, UnsentDepth};
