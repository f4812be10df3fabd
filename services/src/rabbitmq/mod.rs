//! RabbitMQ: one node, or a cluster of three.

mod cluster;
mod config;
mod management;
mod node;
mod server;
mod shared;
mod url;

pub use cluster::Cluster;
pub use management::Management;
pub use server::Server;
pub use shared::shared_url;
