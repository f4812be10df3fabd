//! From the outbox to the transport, for stores that are elsewhere.

#[expect(clippy::module_inception, reason = "the loop itself, beside its planning")]
mod relay;
mod waves;

pub(crate) use relay::{Relay, relay};
