//! The tables of the bus and how they change from version to version.

mod migrate;

#[cfg(feature = "sqlx")]
pub(crate) use migrate::{NEWEST, VERSION};
pub(crate) use migrate::{check, migrate, too_new, unknown_version};
