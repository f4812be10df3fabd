//! What is measured. Everything is persistent and confirmed; queues are quorum queues.

use super::{ours, pipeline, twin};
use crate::delayed::LATE;
use crate::latency::{self, PACE};
use crate::round::{Amount, Case, Figure, RATE};

/// Producers, and how many messages of each are on their way.
const IN_FLIGHT: u64 = 16 * 100;
/// Handlers at once.
pub(super) const CONCURRENCY: usize = 100;
/// Messages that wait at the broker for their time.
const DELAYED: u64 = 20_000;

const EACH: &[Figure] = &[Figure { name: "p50", unit: "ms" }];

pub(crate) fn cases() -> Vec<Case> {
    let consume = |name: &str, acks: twin::Acks| Case {
        name: format!("consume and ack, concurrency {CONCURRENCY}{name}"),
        figures: RATE,
        amount: Amount::FullSpeed { first: 20_000, max: 300_000 },
        ours: Box::new(ours::consume),
        twin: Some(Box::new(move |messages| twin::consume(messages, acks))),
    };
    vec![
        Case {
            name: "publish, 16 producers with 100 in flight".to_owned(),
            figures: RATE,
            amount: Amount::FullSpeed { first: 20_000, max: 300_000 },
            ours: Box::new(|messages| ours::publish(messages, IN_FLIGHT)),
            twin: Some(Box::new(|messages| twin::publish(messages, IN_FLIGHT))),
        },
        consume("", twin::Acks::Together),
        consume(", twin acks each", twin::Acks::Each),
        Case {
            name: "publish, one at a time".to_owned(),
            figures: EACH,
            amount: Amount::Fixed(2_000),
            ours: Box::new(ours::publish_each),
            twin: Some(Box::new(twin::publish_each)),
        },
        Case {
            name: format!("end to end, {PACE} a second"),
            figures: latency::FIGURES,
            amount: Amount::Paced(PACE),
            ours: Box::new(ours::end_to_end),
            twin: Some(Box::new(twin::end_to_end)),
        },
        Case {
            name: "consume, inbox + insert + event in SQLite, publish it".to_owned(),
            figures: RATE,
            amount: Amount::FullSpeed { first: 10_000, max: 100_000 },
            ours: Box::new(pipeline::run),
            twin: None,
        },
    ]
}

pub(crate) fn delayed_cases() -> Vec<Case> {
    vec![Case {
        name: "delayed messages (promised: p99 250 ms)".to_owned(),
        figures: LATE,
        amount: Amount::Fixed(DELAYED),
        ours: Box::new(ours::delayed),
        twin: None,
    }]
}
