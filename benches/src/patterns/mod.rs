//! What an application does around a queue, beside what it would write by hand.

mod background;
mod cases;
mod events;
mod requests;
mod schedules;

pub(crate) use cases::cases;
