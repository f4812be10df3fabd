//! What is done to broker, network and processes while messages are under way.
//!
//! 1. `world`: what a scenario is given
//! 2. `broker_kills`, `delays`: the broker dies
//! 3. `network`: the network does not do what it should
//! 4. `deletion`: somebody deletes a queue
//! 5. `alarm`: the broker runs out of memory
//! 6. `leader`: a member of a cluster dies
//! 7. `consumer_kills`, `poison`: processes die
//! 8. `closing`: the bus is closed while there is no broker

mod alarm;
mod broker_kills;
mod closing;
mod consumer_kills;
mod delays;
mod deletion;
mod leader;
mod network;
mod poison;
mod world;

pub(crate) use poison::Taster;
pub(crate) use world::{Scenario, Size, World};
