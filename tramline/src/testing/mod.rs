//! Tools for the tests of an application: feature `testing`.
//!
//! * [`TestBus`]: the endpoints of an application in memory, on a clock that is wound by hand. For
//!   tests of what handlers do.
//! * [`Simulation`]: the same handlers on a bus that dies at any `.await` and whose calls go wrong,
//!   by seed. For tests of what must hold all the same.

mod backlog;
pub mod faults;
mod simulation;
mod test_bus;
mod trace;
mod witness;

pub use simulation::{Aftermath, Found, Life, Scenario, Simulation, Survived};
pub use test_bus::{NotInTime, TestBus};
