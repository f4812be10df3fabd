//! A handler's transaction, beside the same statements written by hand.

mod cases;
mod ours;
mod twin;

pub(crate) use cases::{INSERT, TABLE, cases};
