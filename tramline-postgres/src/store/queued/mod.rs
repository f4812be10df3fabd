//! Statements that wait for the end of their unit of work.

mod many;
mod parameter;
mod parameters;
mod permitted;
mod prepared;
mod running;
mod statement;

pub(super) use many::{Column, columns};
pub use parameter::Parameter;
pub use parameters::Parameters;
pub(super) use prepared::{BEGIN, Prepared, Preparing};
pub(super) use running::{run_all, statement_failed};
pub(super) use statement::Statement;
