//! RabbitMQ: one node, or a cluster of three.

mod certificates;
mod cluster;
mod config;
mod management;
mod node;
mod server;
mod shared;
mod url;

pub use certificates::Certificates;
pub use cluster::Cluster;
pub use management::Management;
pub use server::Server;
pub use shared::shared_url;
