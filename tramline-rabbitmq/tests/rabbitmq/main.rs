//! What RabbitMQ promises beyond the contracts, on a real broker.

mod connecting;
mod kit;
mod receiving;
mod trials;
