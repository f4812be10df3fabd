//! Messages that arrive later, without any plugin: they wait in stages, queues with a time to live.

mod plan;
mod stages;
mod way;

#[allow(unused_imports)]
pub(crate) use plan::{PAUSE_MAX, Plan, RESOLUTION, Stage};
pub(crate) use stages::{bind_due, due_exchange, ground, steps, undeliverable};
#[allow(unused_imports)]
pub(crate) use way::{End, Leg, LegTo, legs};
