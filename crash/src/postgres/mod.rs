//! PostgreSQL under faults: what producers were told, what was committed and what handlers have done is
//! compared at the end of each scenario.
//!
//! 1. `command`: how it is called; `processes`: the same program as a process that is killed
//! 2. `scenarios`: what is done to server, connections and processes
//! 3. `server`, `database`: what it is done to
//! 4. `service`: who handles what is sent; `relay`, `writer`: who publishes through an outbox
//! 5. `course`: what every scenario has; `evidence`, `order`: what is known afterwards
//! 6. `planted`: bugs that must be found

mod command;
mod course;
mod database;
mod evidence;
mod order;
mod planted;
mod processes;
mod relay;
mod scenarios;
mod server;
mod service;
mod writer;

pub(crate) use command::{Arguments, run};
