//! Random walks: a queue with all of its wishes beside the simplest thing that behaves alike.

mod chance;
mod shelf;
mod walk;

pub use walk::{Walk, walk};
