//! This process among others on the same file: who is alive, who is to be woken, and what is done
//! beside the writer.

pub(crate) mod checkpoint;
pub(crate) mod lock;
mod neighbours;
pub(crate) mod reading;
pub(crate) mod reap;
pub(crate) mod watch;

pub(crate) use neighbours::Neighbours;
