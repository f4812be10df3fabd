//! For drivers that keep messages as rows of tables: what the columns hold and how it is read back, and
//! how a receiver knows when to take how many.

mod address;
mod arrival;
#[cfg(feature = "system")]
mod hub;
#[cfg(feature = "system")]
mod pace;
mod recorded;
#[cfg(feature = "system")]
mod slots;
#[cfg(feature = "system")]
mod unrouted;

pub use address::{read_destination, write_destination};
pub use arrival::{arriving, forget_via, read_envelope, unreadable, write_envelope};
#[cfg(feature = "system")]
pub use hub::{Bell, Hub, OUTBOX, SCHEDULES};
#[cfg(feature = "system")]
pub use pace::Pace;
pub use recorded::{Charge, Recorded, read_history, write_history};
#[cfg(feature = "system")]
pub use slots::{Reserved, Slot, Slots};
#[cfg(feature = "system")]
pub use unrouted::Unrouted;
