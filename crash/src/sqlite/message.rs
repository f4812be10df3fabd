//! What is sent, and what is to become of it.

use crate::dice::mixed;
use serde::{Deserialize, Serialize};
use tramline::Message;

/// An event that every endpoint of the test but the last has subscribed to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Placed {
    /// Never used twice, and growing with each message of a producer.
    pub(crate) number: u64,
    /// Of one task of one producer, which sends one message after the other.
    pub(crate) key: String,
    /// When it was sent or, scheduled, when it is due. Microseconds since 1970.
    pub(crate) since: i64,
}

impl Message for Placed {
    const NAME: &'static str = "crash.placed";
}

/// What the ledger publishes for each event that it has handled.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Noted(pub(crate) Placed);

impl Message for Noted {
    const NAME: &'static str = "noted.placed";
}

/// What is published beside the writes to another file, for each event.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Forwarded(pub(crate) Placed);

impl Message for Forwarded {
    const NAME: &'static str = "forwarded.placed";
}

/// What is to become of a message at the endpoints that fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Handled,
    /// Fails so often, then succeeds.
    HandledAfter(u32),
    /// Fails for good.
    DeadAtOnce,
    /// Fails until nobody tries it any more.
    DeadAfterAll,
}

impl Fate {
    pub(crate) fn of(number: u64) -> Self {
        match mixed(number) % 100 {
            0 => Self::DeadAtOnce,
            1 => Self::DeadAfterAll,
            2..6 => Self::HandledAfter(1),
            6 => Self::HandledAfter(2),
            _ => Self::Handled,
        }
    }
}

/// Numbers of one life of one producer, each larger than those of its lives before.
pub(crate) fn first_number(producer: u64, life: u64) -> u64 {
    const LIVES: u64 = 10_000;
    const MESSAGES: u64 = 10_000_000;
    (producer * LIVES + life) * MESSAGES
}
