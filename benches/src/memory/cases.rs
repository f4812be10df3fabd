//! What is measured of the engine on memory.

use super::{ours, twin};
use crate::round::{Amount, Case, Figure, RATE};

pub(super) const PRODUCERS: u64 = 16;
pub(super) const CONCURRENCY: usize = 16;

const AMOUNT: Amount = Amount::FullSpeed { first: 20_000, max: 1_000_000 };

/// What a message costs where nothing runs beside it.
const COSTS: &[Figure] = &[
    Figure { name: "time", unit: "ns/msg" },
    Figure { name: "allocations beyond decoding", unit: "allocs/msg" },
];

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: format!("end to end, {PRODUCERS} producers, concurrency {CONCURRENCY}"),
            figures: RATE,
            amount: AMOUNT,
            ours: Box::new(ours::end_to_end),
            twin: Some(Box::new(twin::end_to_end)),
        },
        Case {
            name: format!("producers alone, {PRODUCERS} of them"),
            figures: RATE,
            amount: AMOUNT,
            ours: Box::new(ours::produce),
            twin: Some(Box::new(twin::produce)),
        },
        Case {
            name: format!("consumer alone, concurrency {CONCURRENCY}"),
            figures: RATE,
            amount: AMOUNT,
            ours: Box::new(ours::consume),
            twin: Some(Box::new(twin::consume)),
        },
        Case {
            name: "consumer alone, all on one thread".to_owned(),
            figures: COSTS,
            amount: Amount::Fixed(100_000),
            ours: Box::new(ours::consume_on_one_thread),
            twin: Some(Box::new(twin::consume_on_one_thread)),
        },
        Case {
            name: "consumer on one thread, six layers of the user's".to_owned(),
            figures: COSTS,
            amount: Amount::Fixed(100_000),
            ours: Box::new(ours::consume_through_layers),
            twin: Some(Box::new(twin::consume_on_one_thread)),
        },
    ]
}
