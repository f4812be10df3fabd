//! Where messages are handled: a queue, its subscriptions, its handlers and its policies.
//!
//! The way of a message through an endpoint: `receive` takes it, `admit` decides whether it is
//! for us, `gather` makes batches, `process` (for these `batch`) runs the pipeline, `settlement` decides what becomes
//! of it, and `settle` does that. What may kill the process goes through `suspects`; where the bus
//! keeps the order of a queue, `intake` takes from `lanes`, in which each is `placed`. What `protection` asks
//! for beside a circuit breaker is in `metered`: a `rate`, and for each key a rate and `turns`, for which
//! messages wait in `waiting`, or go `away`.

mod admit;
mod answer;
mod away;
mod batch;
#[expect(clippy::module_inception, reason = "the builder itself, beside what it builds")]
mod endpoint;
mod gather;
mod in_flight;
mod intake;
mod lanes;
mod metered;
mod pausing;
mod placed;
mod process;
mod protection;
mod rate;
mod receive;
mod settle;
mod settlement;
mod shared;
mod suspects;
mod turns;
mod waiting;
mod wishes;

pub use endpoint::Endpoint;
pub use rate::RateLimit;
pub use shared::HeldTooLong;

pub(crate) use endpoint::Body;
pub(crate) use process::{EndpointPipeline, Inner};
pub(crate) use receive::{Reception, receive};
pub(crate) use shared::Shared;
