//! What is measured of the patterns.

use super::background;
use crate::round::{Amount, Case, RATE};
use std::time::Duration;

const AMOUNT: Amount = Amount::FullSpeed { first: 100_000, max: 5_000_000 };

pub(crate) fn cases() -> Vec<Case> {
    let background = |name: &str, limit: Option<Duration>| Case {
        name: format!("background queue, {name} (at least 0.8)"),
        figures: RATE,
        amount: AMOUNT,
        ours: Box::new(move |items| background::ours(items, limit)),
        twin: Some(Box::new(move |items| background::twin(items, limit))),
    };
    vec![
        background("a time limit for each task", Some(Duration::from_secs(30))),
        background("no time limit", None),
    ]
}
