//! What is measured of the transport. Everything is as durable as it is by default.

use super::{ours, peer, twin};
use crate::latency::{self, PACE};
use crate::round::{Amount, Case, RATE};

/// Messages of one batch.
pub(super) const BATCH: u64 = 100;

pub(crate) fn cases() -> Vec<Case> {
    let enqueue =
        [("1 caller", 1, 200), ("16 callers", 16, 2_000), ("1000 in flight", 1000, 20_000)];
    let mut cases: Vec<Case> = enqueue
        .into_iter()
        .map(|(callers, count, first)| Case {
            name: format!("enqueue, {callers}"),
            figures: RATE,
            amount: Amount::FullSpeed { first, max: 300_000 },
            ours: Box::new(move |messages| ours::enqueue(messages, count)),
            twin: Some(Box::new(move |messages| twin::enqueue(messages, count))),
        })
        .collect();
    cases.push(Case {
        name: format!("enqueue, 1 caller, batches of {BATCH}"),
        figures: RATE,
        amount: Amount::FullSpeed { first: 10_000, max: 300_000 },
        ours: Box::new(ours::enqueue_batches),
        twin: Some(Box::new(twin::enqueue_batches)),
    });
    cases.extend([1, 16, 100].map(|concurrency| Case {
        name: format!("consume and ack, concurrency {concurrency}"),
        figures: RATE,
        amount: Amount::FullSpeed { first: 10_000, max: 200_000 },
        ours: Box::new(move |messages| ours::consume(messages, concurrency)),
        twin: Some(Box::new(move |messages| twin::consume(messages, concurrency))),
    }));
    cases.push(Case {
        name: format!("end to end, {PACE} a second"),
        figures: latency::FIGURES,
        amount: Amount::Paced(PACE),
        ours: Box::new(ours::end_to_end),
        twin: Some(Box::new(twin::end_to_end)),
    });
    cases.push(Case {
        name: format!("end to end, {PACE} a second, to another process"),
        figures: latency::FIGURES,
        amount: Amount::Paced(PACE),
        ours: Box::new(peer::end_to_end),
        twin: None,
    });
    cases
}
