//! Messages as AMQP 0-9-1 has them: properties, headers, body.

mod death;
pub(crate) mod names;
mod read;
mod value;

#[allow(unused_imports)]
pub(crate) use read::{Incoming, read};
