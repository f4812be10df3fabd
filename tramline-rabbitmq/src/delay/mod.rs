//! Messages that arrive later, without any plugin: they wait in stages, queues with a time to live.

mod plan;
mod stages;
mod way;

pub(crate) use plan::{PAUSE_MAX, Plan, RESOLUTION};
pub(crate) use stages::{bind_due, due_exchange, ground, steps, undeliverable};
pub(crate) use way::{End, Leg, LegTo, legs};
