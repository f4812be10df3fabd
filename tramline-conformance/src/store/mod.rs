//! What is asked of every store, by topic.

pub mod harness;
mod work;

pub mod acking;
pub mod inbox;
pub mod limits;
pub mod outbox;
pub mod publishing;
pub mod schedules;
pub mod writing;
