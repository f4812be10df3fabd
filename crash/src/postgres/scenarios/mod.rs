//! What is done to server, connections and processes while messages are under way.
//!
//! 1. `world`: what a scenario is given
//! 2. `relays`: relays die
//! 3. `consumers`, `order`, `poison`: processes that handle die
//! 4. `schedules`: processes that share schedules die, and the server with them
//! 5. `stops`, `failover`: the server dies, or is not what it was
//! 6. `sessions`: it ends connections

mod consumers;
mod failover;
mod order;
mod poison;
mod relays;
mod schedules;
mod sessions;
mod stops;
mod world;

pub(crate) use world::{Scenario, Size, World};
