//! Sends, and waits until the broker has answered.
//!
//! Read in the order of a message's way: `sender` tries until it has an answer; `route` says where to,
//! `prepared` sees to it that this is there, `size` that the broker takes it; `publisher` has the window
//! and the channel, `channel` publishes, or leaves it to `hearing`, which hears what became of all that is
//! `in_flight`, by their order (`numbered`); `returns` says whose a returned message is, `refusal` whose
//! fault it was when the broker closed the channel, which `recent_refusals` remembers for a while,
//! `silence` whether it still reads, and `answer` what all that means.

mod answer;
mod channel;
mod hearing;
mod in_flight;
mod numbered;
mod prepared;
mod publisher;
mod recent_refusals;
mod refusal;
mod returns;
mod route;
mod sender;
mod silence;
mod size;

pub(crate) use publisher::Publisher;
pub use sender::RabbitMqSender;
pub(crate) use size::Limits;
