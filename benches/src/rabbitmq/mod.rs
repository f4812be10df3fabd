//! The bus on RabbitMQ, beside the best that could be written by hand on the same client library.

pub(crate) mod broker;
mod cases;
mod ours;
mod pipeline;
pub(crate) mod twin;

pub(crate) use cases::{cases, delayed_cases};
