//! The engine under faults and crashes drawn from a seed, on memory.
//!
//! 1. `command`: how it is called
//! 2. `worlds`: what is simulated; each seed is one of them
//! 3. `message`: what is sent; `evidence`: what is left of it, and what must hold of that
//! 4. `planted`: bugs that must be found, and the tests

mod command;
mod evidence;
mod message;
#[cfg(test)]
mod planted;
mod worlds;

pub(crate) use command::{Arguments, run};
