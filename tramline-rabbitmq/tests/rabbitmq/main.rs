//! What RabbitMQ promises beyond the contracts, on a real broker.

mod kit;
mod receiving;
