//! What operators see and do.
//!
//! 1. `browse`: what stands in a queue is taken, looked at, and given back in its order
//! 2. `operate`: the contract; `visit`: all dead letters are shown; `redrive`: they go back by
//!    confirmed copies
//! 3. `management`: figures that only the broker's HTTP API has

mod browse;
mod management;
#[expect(clippy::module_inception, reason = "the contract of that name")]
mod operate;
mod redrive;
mod visit;

pub(crate) use management::Management;
