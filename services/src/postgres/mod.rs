//! PostgreSQL: one server.

mod cluster;
mod config;
mod probe;
mod programs;
mod server;
mod shared;

pub use server::Server;
pub use shared::shared_url;
