//! The orders that the service places with itself.

mod csv;
mod file;

pub(crate) use file::{read_file, shipped};
