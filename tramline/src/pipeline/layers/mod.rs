//! The engine's own layers, from the outside in: trace, metrics, retry in place, circuit breaker, time limit,
//! panic, transaction. The user's layers go inside of them.

mod breaking;
mod clean_slate;
mod metrics;
mod panic;
mod poison_lane;
mod retry_in_place;
mod time_limit;
mod trace;
mod transaction;

pub(crate) use breaking::{Breaking, FREE_PROBES};
pub(crate) use clean_slate::CleanSlate;
pub(crate) use metrics::Metrics;
pub(crate) use panic::CatchPanic;
pub(crate) use retry_in_place::RetryInPlace;
pub(crate) use time_limit::TimeLimit;
pub(crate) use trace::Trace;
pub(crate) use transaction::Transaction;
