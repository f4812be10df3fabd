//! The engine on memory, beside a channel.

mod cases;
mod ours;
mod twin;

pub(crate) use cases::cases;
