//! The tables and functions of the bus, and how they change from version to version.

mod migrate;

pub use migrate::migrations;
pub(crate) use migrate::{NEWEST, check, migrate, version};
