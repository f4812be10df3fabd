//! The bus on RabbitMQ, beside the best that could be written by hand on the same client library.

mod broker;
mod cases;
mod ours;
mod pipeline;
mod twin;

pub(crate) use cases::{cases, delayed_cases};
