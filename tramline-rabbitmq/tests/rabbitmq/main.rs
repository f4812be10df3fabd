//! What RabbitMQ promises beyond the contracts, on a real broker.

mod coming_back;
mod connecting;
mod cutter;
mod declaring;
mod foreign;
mod kit;
mod receiving;
mod registry;
mod topologies;
mod trials;
