//! Handlers on a bus that dies anywhere, again and again, and what must hold all the same.
//!
//! Read from the outside in: `simulation` tries seed after seed, `world` is the run of one,
//! `process` is one life in it, `client` sends, `ledger` knows what must not be lost, and `shrink`
//! leaves out what a failure does not need.

mod client;
mod found;
mod ledger;
mod life;
mod process;
mod scenario;
mod script;
mod shrink;
#[expect(clippy::module_inception, reason = "the builder itself, beside what it runs")]
mod simulation;
mod turns;
mod world;

pub use found::Found;
pub use life::Life;
pub use scenario::{Aftermath, Scenario};
pub use simulation::{Simulation, Survived};

pub(crate) use ledger::Ledger;
