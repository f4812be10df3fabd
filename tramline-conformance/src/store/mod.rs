//! What is asked of every store, by topic.

pub mod harness;
