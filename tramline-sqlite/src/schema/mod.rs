//! The tables of the bus and how they change from version to version.

mod migrate;

pub(crate) use migrate::{check, migrate, too_new, unknown_version};
