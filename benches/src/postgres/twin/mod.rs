//! The twin: the client library alone, and SQL by hand.

mod consumer;
mod enqueue;
mod table;
mod writer;

pub(super) use consumer::{Consumer, Taken, consume, work};
pub(super) use enqueue::{enqueue, enqueue_each};
pub(super) use table::{Table, fill, queue, twin_table};
pub(super) use writer::Writer;
