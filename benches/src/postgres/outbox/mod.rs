//! A business row and an event in one transaction, a relay, and RabbitMQ.

mod ours;
mod twin;
mod way;

pub(super) use ours::ours;
pub(super) use twin::twin;
pub(super) use way::{FIGURES, PACE, Way};
