//! What a run must add up to, what it did add up to, and the report that compares them.

mod dead_letters;
mod figures;
mod render;
#[expect(clippy::module_inception, reason = "the report itself, beside its parts")]
mod report;

pub(crate) use dead_letters::DeadLetters;
pub(crate) use figures::Figures;
pub(crate) use report::Report;
