//! RabbitMQ under faults: what producers were told is confirmed, and what handlers have done, is
//! compared at the end of each scenario.
//!
//! 1. `command`: how it is called; `processes`: the same program as a process that is killed
//! 2. `scenarios`: what is done to broker, network and processes
//! 3. `broker`, `cluster`, `proxy`: what it is done to
//! 4. `service`: who handles what is sent
//! 5. `course`: what every scenario has; `evidence`: what is known afterwards
//! 6. `planted`: bugs that must be found

mod broker;
mod cluster;
mod command;
mod course;
mod evidence;
mod planted;
mod processes;
mod proxy;
mod scenarios;
mod service;

pub(crate) use command::{Arguments, run};
