//! The engine under faults.

mod command;

pub(crate) use command::{Arguments, run};
