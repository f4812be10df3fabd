//! The call that writes one message for queues that may refuse it.

use super::placed::Placed;
use super::writing::DIRECT;
use crate::queue::{Legs, Parcel};
use tramline_core::clock::Timestamp;

/// What `tramline.place` is called with beside the version of the routes and the time.
pub(crate) struct Placing<'p> {
    pub(crate) flags: i32,
    pub(crate) is_judged: bool,
    pub(crate) queues: Vec<i32>,
    pub(crate) ranks: Vec<i32>,
    pub(crate) seen_as: Option<String>,
    pub(crate) due: Option<i64>,
    pub(crate) failures: i32,
    pub(crate) trials: i32,
    pub(crate) unhandled_since: Option<i64>,
    pub(crate) first_failed_at: Option<i64>,
    pub(crate) history: Option<&'p str>,
    pub(crate) expires_at: Option<i64>,
    pub(crate) key: Option<&'p str>,
    pub(crate) envelope: &'p str,
    pub(crate) body: &'p [u8],
}

impl<'p> Placing<'p> {
    pub(crate) fn of(parcel: &'p Parcel, legs: &Legs, flags: i32) -> Self {
        let (envelope, recorded) = (&parcel.envelope, &parcel.recorded);
        let micros = |moment: Option<Timestamp>| moment.map(Timestamp::as_micros);
        Self {
            flags: flags | if recorded.is_direct { DIRECT } else { 0 },
            is_judged: parcel.is_judged(),
            queues: legs.iter().map(|queue| queue.id).collect(),
            ranks: legs.iter().map(|queue| queue.rank(envelope)).collect(),
            seen_as: parcel.seen_as(),
            due: micros(parcel.due),
            failures: recorded.failures as i32,
            trials: recorded.marks.trials as i32,
            unhandled_since: micros(recorded.marks.unhandled_since),
            first_failed_at: micros(recorded.first_failed_at),
            history: recorded.history.as_deref(),
            expires_at: micros(envelope.expires_at),
            key: envelope.key.as_deref(),
            envelope: &parcel.text,
            body: &envelope.body,
        }
    }

    /// What the answer says of a message for these queues; `None` if the routes are old.
    pub(crate) fn answered(answer: Option<i32>, legs: &Legs) -> Option<Placed> {
        let answer = answer?;
        let full = legs.iter().find(|queue| queue.id == -answer);
        Some(match full {
            Some(queue) => Placed::Full(queue.spec.name.clone()),
            None if answer < 0 => Placed::NoSuchQueue,
            None => Placed::In(answer.unsigned_abs() as usize),
        })
    }
}
