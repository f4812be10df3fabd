//! What is measured of the patterns.

use super::{background, events, requests, schedules};
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
        Case {
            name: "an event to 3 handlers (at least 1,000,000/s)".to_owned(),
            figures: RATE,
            amount: AMOUNT,
            ours: Box::new(events::ours),
            twin: Some(Box::new(events::twin)),
        },
        Case {
            name: "request and reply in memory, 100 callers (at least 150,000/s)".to_owned(),
            figures: RATE,
            amount: AMOUNT,
            ours: Box::new(requests::memory),
            twin: Some(Box::new(requests::twin)),
        },
        Case {
            name: "request and reply on SQLite, 100 callers (at least 10,000/s)".to_owned(),
            figures: RATE,
            amount: Amount::FullSpeed { first: 2_000, max: 500_000 },
            ours: Box::new(requests::sqlite),
            twin: None,
        },
        Case {
            name: "a million schedules put on SQLite (at least 100,000/s)".to_owned(),
            figures: RATE,
            amount: Amount::Fixed(1_000_000),
            ours: Box::new(schedules::put),
            twin: Some(Box::new(schedules::put_by_hand)),
        },
        Case {
            name: "schedules that are due among a million on SQLite (at most 50 ms late)"
                .to_owned(),
            figures: schedules::LATE,
            amount: Amount::Fixed(2_000),
            ours: Box::new(schedules::leave),
            twin: None,
        },
        Case {
            name: "idle, 100,000 schedules on SQLite".to_owned(),
            figures: schedules::SHARE,
            amount: Amount::Fixed(1),
            ours: Box::new(schedules::idle),
            twin: None,
        },
    ]
}
