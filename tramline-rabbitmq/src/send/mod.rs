//! Sends, and waits until the broker has answered.
//!
//! Read in the order of a message's way: `sender` tries until it has an answer; `route` says where to,
//! `ground` sees to it that this is there, `size` that the broker takes it; `publisher` has the window
//! and the channel, `channel` publishes, `hearing` hears what became of all that is `in_flight`, `returns`
//! says whose a returned message is, `refusal` whose fault it was when the broker closed the channel,
//! which `recent_refusals` remembers for a while, `silence` whether it still reads, and `answer` what all that means.

mod answer;
mod channel;
mod ground;
mod hearing;
mod in_flight;
mod numbered;
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
