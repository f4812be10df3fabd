//! RabbitMQ with a bug, to show that a scenario finds it.
//!
//! 1. `bug`: which bugs can be planted
//! 2. `transport`: where they are; without one, it is the driver itself
//!
//! `crash/tests/rabbitmq.rs` plants each.

mod bug;
mod transport;

pub(crate) use bug::Bug;
pub(crate) use transport::connect;
