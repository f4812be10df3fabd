//! One run: orders are placed, watched and disturbed until all of them are done.

mod bar;
mod broker;
mod look;
mod refill;
#[expect(clippy::module_inception, reason = "the run itself, beside its parts")]
mod run;
mod stillness;

pub(crate) use look::{Gauge, look};
pub(crate) use refill::refill;
pub(crate) use run::{Run, Site};
