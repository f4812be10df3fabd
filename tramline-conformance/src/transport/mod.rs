//! What is asked of every transport, by topic.

pub mod harness;

pub mod delivery;
pub mod settling;
