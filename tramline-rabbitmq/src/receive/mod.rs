//! Takes messages from queues and tells the broker how that ended.
//!
//! 1. `ledger`: which deliveries are done, and how few acks say so; `order`: which must not overtake
//!    each other; pure
//! 2. `lease`: the deliveries of one channel, and the frames that settle them; `flag`: its end;
//!    `frames`: whether the broker may still have some before it
//! 3. `delivery`: one message; `trials`: how often it was handled alone
//! 4. `consumption`: one consumer on one channel; `pace`: how many messages it may hold
//! 5. `receiver`: one queue, over as many connections as it takes

mod complaints;
mod consumption;
mod delivery;
mod flag;
mod frames;
mod lease;
mod ledger;
mod order;
mod pace;
mod receiver;
mod trials;

pub(crate) use lease::Leases;
pub(crate) use trials::Asking;

pub use delivery::RabbitMqDelivery;
pub use receiver::RabbitMqReceiver;
