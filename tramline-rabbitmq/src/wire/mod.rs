//! Messages as AMQP 0-9-1 has them: properties, headers, body.

mod death;
pub(crate) mod names;
mod read;
#[cfg(test)]
mod tests;
mod value;
mod write;

pub(crate) use read::{Incoming, read};
pub(crate) use write::write;
