//! The twin on SQLite: the same rows in the same tables, written by hand. One thread writes, in
//! groups, as many as wait; claims are of 1000; acks are committed without a sync.

mod consumer;
mod file;
mod letter;
mod log;
mod rows;
mod writer;

pub(crate) use consumer::{Work, consume};
pub(crate) use file::{QUEUE, fill, prepare};
pub(crate) use letter::{Letter, Taken};
pub(crate) use writer::{Hand, Handled};
