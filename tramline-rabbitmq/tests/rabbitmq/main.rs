//! What RabbitMQ promises beyond the contracts, on a real broker.

mod connecting;
mod declaring;
mod kit;
mod receiving;
mod trials;
