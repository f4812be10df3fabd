//! Messages are taken, handed out and settled.

mod claim;
mod delivery;
mod ending;
mod head;
mod held;
mod receiver;
mod settling;
mod taken;

pub use delivery::PostgresDelivery;
pub(crate) use held::Lease;
pub use receiver::PostgresReceiver;
pub(crate) use settling::{Job, Settling};
