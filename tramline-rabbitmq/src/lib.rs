//! Tramline on RabbitMQ, or any broker that speaks AMQP 0-9-1 and has its extensions.
//!
//! [`RabbitMq`] is the transport. Read in the order of a message's life:
//!
//! 1. [`rabbitmq`](RabbitMq), [`options`](RabbitMqOptions), `url`, `tls`: what is connected to
//! 2. `link`: two supervised connections, which come back by themselves, and brief ones, which do not
//! 3. `declare`, `names`: queues, topics and bindings; what they are called on the broker
//! 4. `wire`: messages as AMQP has them
//! 5. `delay`: stages in which messages wait
//! 6. `receive`: takes messages from queues, and says how that ended
//! 7. `send`: sends, and waits until the broker has answered
//! 8. `operate`: what operators see and do

mod capabilities;
mod declare;
mod delay;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod link;
mod names;
mod operate;
mod options;
mod rabbitmq;
mod receive;
mod send;
mod tls;
mod transport;
mod url;
mod wire;

pub use declare::{Binding, Exchange};
pub use options::RabbitMqOptions;
pub use rabbitmq::RabbitMq;
pub use receive::{RabbitMqDelivery, RabbitMqReceiver};
pub use send::RabbitMqSender;
