//! What can go wrong between a bus and what it works with, by seed: each call of a contract fails
//! before its effect, is late, loses its answer after its effect, happens twice, or out of order.
//!
//! Each call lets other tasks run before its effect and after it, so that a process can die in
//! both places.

mod call;
mod delivery;
mod draw;
#[expect(clippy::module_inception, reason = "the handle itself, beside what it is used by")]
mod faults;
mod faulty;
mod operate;
mod outbox;
mod receiver;
mod sender;
mod store;
mod transport;

pub use delivery::FaultyDelivery;
pub use faults::Faults;
pub use faulty::Faulty;
pub use receiver::FaultyReceiver;
pub use sender::FaultySender;

pub(crate) use call::{Call, Fault, LifeId, Site};
pub(crate) use draw::{Dice, Rates};
pub(crate) use faults::{Happening, Source};
