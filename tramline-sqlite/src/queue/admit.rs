//! Which of its queues take a message: what a queue has seen it drops, or what it has one of already, and one that
//! is full makes the message stay outside of all.

use super::length;
use super::parcel::Parcel;
use super::routes::{Legs, Queue};
use super::unique;
use crate::writer::Work;
use rusqlite::{OptionalExtension, params};
use std::sync::Arc;
use tramline_core::name::QueueName;

/// What the queues of a message say.
pub(super) enum Admitted {
    /// These take it. The others know it already, or have one of its key.
    By(Legs),
    /// This one has no room.
    Full(QueueName),
    /// Nobody here knows what this one asks for.
    Unknown(Arc<Queue>),
}

/// Asks all queues before anything is written, and makes them remember what they take.
pub(super) fn admit(work: &Work<'_>, parcel: &Parcel, legs: &Legs) -> rusqlite::Result<Admitted> {
    let mut taking = Legs::with_capacity(legs.len());
    let mut remembering = Vec::new();
    let seen_as = seen_as(parcel);
    for leg in legs {
        if let Some(queue) = work.particular(leg.queue) {
            if !queue.is_known {
                return Ok(Admitted::Unknown(queue));
            }
            if unique::is_held(work, &queue, parcel.envelope.key.as_deref())? {
                continue;
            }
            if let Some(key) = seen_as.as_deref().filter(|_| queue.spec.dedup_window.is_some()) {
                if has_seen(work, &queue, key)? {
                    continue;
                }
                remembering.push((queue.id, key));
            }
            if length::is_full(work, &queue)? {
                return Ok(Admitted::Full(queue.spec.name.clone()));
            }
        }
        taking.push(*leg);
    }
    remembering.iter().try_for_each(|(queue, key)| remember(work, *queue, key))?;
    Ok(Admitted::By(taking))
}

/// What a message is known by: a sender's key `order-7` is not the id `order-7`.
fn seen_as(parcel: &Parcel) -> Option<String> {
    let envelope = &parcel.envelope;
    match (&envelope.idempotency_key, &envelope.id) {
        (Some(key), _) => Some(format!("key {key}")),
        (None, Some(id)) => Some(format!("id {id}")),
        (None, None) => None,
    }
}

fn has_seen(work: &Work<'_>, queue: &Queue, key: &str) -> rusqlite::Result<bool> {
    const SEEN: &str = "SELECT 1 FROM tramline_seen WHERE queue = ?1 AND key = ?2 AND at > ?3";
    let since = work.now().before(queue.spec.dedup_window.unwrap_or_default());
    work.connection
        .prepare_cached(SEEN)?
        .query_row(params![queue.id, key, since.as_micros()], |_| Ok(()))
        .optional()
        .map(|seen| seen.is_some())
}

fn remember(work: &Work<'_>, queue: i64, key: &str) -> rusqlite::Result<()> {
    const SEE: &str = "INSERT INTO tramline_seen (queue, key, at) VALUES (?1, ?2, ?3)
         ON CONFLICT (queue, key) DO UPDATE SET at = excluded.at";
    work.connection
        .prepare_cached(SEE)?
        .execute(params![queue, key, work.now().as_micros()])
        .map(|_| ())
}
