//! Sends, and waits until the broker has answered.
//!
//! Read in the order of a message's way: `sender` tries until it has an answer; `route` says where to,
//! `ground` sees to it that this is there, `size` that the broker takes it; `publisher` has the window
//! and the channel, `channel` publishes and hears, `returns` says whose a returned message is, and
//! `answer` what all that means.

mod answer;
mod channel;
mod ground;
mod publisher;
mod returns;
mod route;
mod sender;
mod size;

pub(crate) use publisher::Publisher;
pub use sender::RabbitMqSender;
pub(crate) use size::Limits;
