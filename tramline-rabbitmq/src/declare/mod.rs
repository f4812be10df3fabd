//! What was asked for is there: queues, topics and bindings, also after the connection broke.

mod declared;

pub(crate) use declared::Declared;
