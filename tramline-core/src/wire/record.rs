//! What the bus records about a message beside its envelope.

use crate::clock::Timestamp;
use crate::dead::{DeathRecord, History, Reason};
use crate::name::QueueName;
use crate::settlement::Marks;
use crate::transport::{CopyOf, Destination, Outgoing};

/// The most bytes of headers that a [`Record`] adds to a message, names included.
///
/// A driver keeps them free when it says how many bytes of headers its broker takes: a message that
/// could be sent must not turn out too large for the dead-letter queue. Holds for queues with names
/// of up to 260 bytes; no broker allows longer ones.
pub const RECORD_BYTES_MAX: usize = 10 * 1024;

/// What the bus has recorded about one message. Most have nothing in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// How often handling it failed.
    pub failures: u32,
    /// Its last failures.
    pub history: History,
    /// What else is known.
    pub marks: Marks,
    /// The queue in which it failed.
    pub origin: Option<QueueName>,
    /// Why and when it died, for dead letters.
    pub death: Option<Death>,
}

/// Why and when a message died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// Why.
    pub reason: Reason,
    /// When handling it failed first, as far as its failures are still known.
    pub first_failed_at: Option<Timestamp>,
    /// When it died.
    pub failed_at: Timestamp,
}

impl Record {
    /// What is recorded with `outgoing`, sent at `now`: something for copies of messages that
    /// failed, nothing for others and redrives.
    pub fn of(outgoing: &Outgoing, now: Timestamp) -> Self {
        let origin = match &outgoing.to {
            Destination::Queue(queue) => Some(queue.name().clone()),
            _ => None,
        };
        match &outgoing.copy {
            None | Some(CopyOf::Redrive) => Self::default(),
            Some(CopyOf::Retry { failures, history, marks }) => Self {
                failures: *failures,
                history: history.clone(),
                marks: *marks,
                origin,
                death: None,
            },
            Some(CopyOf::DeadLetter { reason, failures, history }) => Self {
                failures: *failures,
                history: history.clone(),
                marks: Marks::default(),
                origin,
                death: Some(Death {
                    reason: reason.clone(),
                    first_failed_at: history.notes().first().map(|note| note.at),
                    failed_at: now,
                }),
            },
        }
    }

    /// The record as operators see it; `None` unless the message is dead.
    pub fn death_record(&self) -> Option<DeathRecord> {
        let Death { reason, first_failed_at, failed_at } = self.death.clone()?;
        let (failures, history) = (self.failures, self.history.clone());
        Some(DeathRecord { reason, failures, history, first_failed_at, failed_at })
    }
}
