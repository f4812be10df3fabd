//! How a delivery ends.

use crate::clock::Timestamp;
use crate::dead::{FailureNote, Reason};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What becomes of a delivered message. Decided by the engine, carried out by the driver.
#[derive(Clone, Debug, PartialEq)]
pub enum Settlement {
    /// Done: the message is gone.
    Ack,
    /// Back to its queue at once and untouched: the process stops, or lost its place in a group.
    /// Charges nothing, but may count against a broker's own delivery limit.
    Return,
    /// Back to its queue after a pause.
    Retry {
        /// The pause. Where dead letters are native they have none: with a pause it is refused as
        /// unsupported, and the dead letter given back.
        after: Duration,
        /// The new total of failures.
        failures: u32,
        /// What went wrong in this delivery, oldest first; none when nothing is charged.
        notes: Vec<FailureNote>,
        /// What else is known about the message from now on.
        marks: Marks,
    },
    /// To the dead-letter queue.
    DeadLetter {
        /// Why.
        reason: Reason,
        /// The new total of failures.
        failures: u32,
        /// What went wrong in this delivery, oldest first.
        notes: Vec<FailureNote>,
    },
}

/// What the bus remembers about a message beside its failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Marks {
    /// How often it was handled alone, under suspicion of killing the process.
    pub trials: u32,
    /// Since when nobody has known its type.
    pub unhandled_since: Option<Timestamp>,
}

impl Marks {
    /// A message counts as poison after so many [`trials`](Self::trials): more need not be known.
    pub const TRIALS_MAX: u32 = 3;
}

/// The broker's answer to a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is so.
    Done,
    /// The message was no longer ours: its lease ended, and somebody else has it or will get it.
    /// An answer, not an error.
    LeaseLost,
}
