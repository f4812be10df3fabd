//! Messages that arrive later, without any plugin: they wait in stages, queues with a time to live.

mod hops;
mod plan;
mod stages;

pub(crate) use hops::{Hop, HopTo, Target, hops};
pub(crate) use plan::{PAUSE_MAX, Plan, RESOLUTION};
pub(crate) use stages::{bind_due, due_exchange, shared_steps, steps, undeliverable};
