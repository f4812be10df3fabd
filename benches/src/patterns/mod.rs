//! What an application does around a queue, beside what it would write by hand.

mod background;
mod cases;
mod events;
mod requests;

pub(crate) use cases::cases;
