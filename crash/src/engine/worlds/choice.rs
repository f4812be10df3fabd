//! Which seed is which world.

use super::{
    batches, by_bus, deduplication, duplicates, elsewhere, expiry, fan_out, full, keys, poison,
    redrive, relayed_keys, shared,
};
use tramline::testing::Scenario;

type World = (&'static str, fn() -> Scenario);

/// The worlds, in turn.
const WORLDS: [World; 16] = [
    ("acks in the handlers' transactions", shared::shared),
    ("a store elsewhere", elsewhere::elsewhere),
    ("retries and dead letters by the bus", by_bus::by_bus),
    ("batches in transactions", batches::batches),
    ("batches without transactions", batches::plain_batches),
    ("events to whom they concern", fan_out::fan_out),
    ("messages that are sent twice", duplicates::duplicates),
    ("order by key", keys::keys),
    ("order by key where no broker locks it", keys::lanes),
    ("order by key through an outbox", relayed_keys::relayed_keys),
    ("a message that kills", poison::poison),
    ("messages that expire", expiry::expiry),
    ("messages that expire, where no broker looks", expiry::expiry_by_bus),
    ("full queues", full::full),
    ("queues that drop what was sent before", deduplication::deduplication),
    ("dead letters that are put back", redrive::redrive),
];

pub(crate) fn of_seed(seed: u64) -> Scenario {
    world(seed).1()
}

/// What the world of `seed` is about.
pub(crate) fn name(seed: u64) -> &'static str {
    world(seed).0
}

fn world(seed: u64) -> World {
    let index = seed % WORLDS.len() as u64;
    WORLDS[usize::try_from(index).unwrap_or_default()]
}
