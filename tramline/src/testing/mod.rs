//! Tools for the tests of an application: feature `testing`.
//!
//! * [`TestBus`]: the endpoints of an application in memory, on a clock that is wound by hand. For
//!   tests of what handlers do.

mod backlog;
mod test_bus;
mod witness;

pub use test_bus::{NotInTime, TestBus};
