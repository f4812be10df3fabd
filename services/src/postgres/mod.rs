//! PostgreSQL: one server.

mod cluster;
mod config;
mod pooler;
mod probe;
mod programs;
mod server;
mod shared;

#[cfg(feature = "testing")]
pub(crate) use config::BY_PASSWORD;
pub use pooler::{pooler_that_keeps_statements, provide_pooler};
pub use server::Server;
pub use shared::shared_url;
