//! The worlds that are simulated, each short: what can go wrong in one place is seldom hidden by
//! what goes wrong in another.

mod batches;
mod by_bus;
mod choice;
mod deduplication;
mod duplicates;
mod elsewhere;
mod expiry;
mod fan_out;
mod full;
mod handlers;
mod keys;
mod poison;
mod redrive;
mod relayed_keys;
mod shared;

pub(super) use choice::{name, of_seed};
#[cfg(test)]
pub(super) use {
    by_bus::by_bus_with,
    deduplication::deduplication_with,
    elsewhere::elsewhere_with,
    expiry::{expiry_by_bus_with, expiry_with},
    fan_out::fan_out_with,
    full::full_with,
    poison::poison_with,
    redrive::redrive_with,
    shared::shared_with,
};
