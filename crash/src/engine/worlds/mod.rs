//! The worlds that are simulated, each short: what can go wrong in one place is seldom hidden by
//! what goes wrong in another.

mod batches;
mod by_bus;
mod choice;
mod duplicates;
mod elsewhere;
mod fan_out;
mod handlers;
mod keys;
mod poison;
mod relayed_keys;
mod shared;

pub(super) use choice::{name, of_seed};
#[cfg(test)]
pub(super) use {
    by_bus::by_bus_with, elsewhere::elsewhere_with, fan_out::fan_out_with, shared::shared_with,
};
