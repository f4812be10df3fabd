//! Messages that arrive later, without any plugin: they wait in stages, queues with a time to live.

mod plan;
mod way;

#[allow(unused_imports)]
pub(crate) use plan::{PAUSE_MAX, Plan, RESOLUTION, Stage};
#[allow(unused_imports)]
pub(crate) use way::{End, Step, StepTo, steps};
